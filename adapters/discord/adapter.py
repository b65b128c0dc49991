"""Discord as a platform: replies are messages of a thread that we edit while they grow."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from datetime import timedelta

import discord
import structlog

from adapters.discord import inbound, outbound
from adapters.discord.calls import ARCHIVED, TOO_LARGE, Calls, DiscordRefused, Upload
from adapters.discord.cards import Cards, custom_ids, is_card
from adapters.discord.components import as_view
from adapters.discord.config import (
    CHANNEL_CONTEXT_MINUTES,
    DIRECT,
    EDIT_SECONDS,
    FILE_BYTES,
    GLOBAL,
    HOLD_SECONDS,
    MESSAGE_CHARS,
    NAME,
    STATES_KEPT,
    DiscordConfig,
)
from adapters.discord.files import Files, download
from adapters.discord.inbound import Identity, is_spoken
from adapters.discord.outbound import Part, Post, nonce
from adapters.discord.places import Place, Places
from adapters.discord.signs import ENDS, Signs
from bot.budget import Priority
from bot.markdown import split
from bot.model import Attachment, IncomingMessage, Quoted, Reply, ThreadKey
from bot.ports import Sign
from bot.store_ports import Artifacts

log = structlog.get_logger()

GONE = "gone"  # the id of a reply whose thread is no more: it is not tried again
FIND_MOST = 100


class DiscordPlatform:
    """The Platform port."""

    name = NAME
    edit_seconds = EDIT_SECONDS
    hold_seconds = HOLD_SECONDS
    outlives_us = True
    keeps_history = True

    def __init__(
        self, config: DiscordConfig, calls: Calls, places: Places, cards: Cards, artifacts: Artifacts, us: Identity
    ) -> None:
        self._config = config
        self._calls = calls
        self._places = places
        self._cards = cards
        self._files = Files(artifacts)
        self._us = us
        self.signs = Signs(calls, places)
        self._asked: OrderedDict[ThreadKey, IncomingMessage] = OrderedDict()
        self.file_limit: Callable[[str], int] = lambda workspace: FILE_BYTES
        """How large a file a server takes."""

    async def mark(self, message: IncomingMessage, sign: Sign) -> None:
        """See bot.ports.Platform: never waits for Discord."""
        self.signs.want(message, sign)
        if sign == "working":
            self._asked[message.key] = message
            self._asked.move_to_end(message.key)
            while len(self._asked) > STATES_KEPT:
                self._asked.popitem(last=False)
            self._places.expect(message)
            self._cards.begin(message.key, message.message_id)
        elif sign in ENDS:
            self._cards.end(message.key)

    async def publish(self, key: ThreadKey, reply: Reply) -> str:
        """See bot.ports.Platform. A reply takes the place of the card where that is fresh."""
        post = outbound.post(reply)
        state = self._cards.state(key)
        async with state.lock:
            try:
                place = await self._places.of(key)
                card = None if post.awaits else self._cards.take(state)
                if card is not None:
                    message = await self._instead_of(card, place, key, reply, post)
                else:
                    message = await self._post(place, key, reply, post)
                    await self._cards.remove(key, state)
            except DiscordRefused as error:
                if error.is_gone:
                    return GONE
                raise
        self._cards.replied(key, final=reply.final)
        return str(message)

    async def _instead_of(self, card: int, place: Place, key: ThreadKey, reply: Reply, post: Post) -> int:
        try:
            await self._edit(place, key, card, reply, post)
        except DiscordRefused as error:
            if not error.is_gone:
                self._cards.give_back(self._cards.state(key), card)
                raise
            return await self._post(place, key, reply, post)  # somebody deleted it
        except BaseException:
            self._cards.give_back(self._cards.state(key), card)
            raise
        return card

    async def _post(self, place: Place, key: ThreadKey, reply: Reply, post: Post) -> int:
        first = await self._send(place, key, post.parts[0], reply.key, post)
        await self._more(place, key, reply, post, first)
        return first

    async def _send(self, place: Place, key: ThreadKey, part: Part, name: str, post: Post | None = None) -> int:
        """One message; the buttons are those of `post`."""
        uploads, notes = await self._files.of(part, self.file_limit(key.workspace))
        try:
            return await self._send_with(place, key, part, name, post, uploads, notes)
        except DiscordRefused as error:
            if not uploads or error.status != TOO_LARGE:
                raise
            return await self._send_with(place, key, part, name, post, [], self._files.named(part))

    async def _send_with(
        self,
        place: Place,
        key: ThreadKey,
        part: Part,
        name: str,
        post: Post | None,
        uploads: list[Upload],
        notes: list[str],
    ) -> int:
        asked = self._asked.get(key)
        ping = int(asked.author.id) if post is not None and post.awaits and asked is not None else None
        content = part.content if ping is None else f"<@{ping}> {part.content}"
        return await self._calls.send(
            place.channel,
            _with_notes(content, notes),
            nonce=nonce(name),
            priority=Priority.FINAL,
            files=uploads,
            view=as_view(post.buttons) if post is not None else None,
            answers=None if place.in_thread or asked is None else int(asked.message_id),
            ping=ping,
        )

    async def _more(self, place: Place, key: ThreadKey, reply: Reply, post: Post, first: int) -> None:
        """The other messages of a long reply; those that an earlier try posted are left."""
        if len(post.parts) == 1:
            return
        later = await self._calls.history(place.channel, 4 * len(post.parts), after=first, oldest_first=True)
        there = [message for message in later if message.author.id == self._us.user_id]
        for number, part in enumerate(post.parts[1:], start=1):
            if any(_is_part(message, part) for message in there):
                continue
            await self._send(place, key, part, f"{reply.key}/{number}")

    async def update(self, key: ThreadKey, message_id: str, reply: Reply) -> None:
        """See bot.ports.Platform. Progress that cannot be afforded now is left out; what is final never is."""
        if message_id == GONE:
            return
        post = outbound.post(reply)
        if not reply.final and self._calls.budget.room(GLOBAL) < 1:
            return
        state = self._cards.state(key)
        async with state.lock:
            try:
                place = await self._places.of(key)
                await self._edit(place, key, int(message_id), reply, post)
                if reply.final:
                    await self._more(place, key, reply, post, int(message_id))
            except DiscordRefused as error:
                if not error.is_gone:  # somebody deleted it
                    raise
        self._cards.replied(key, final=reply.final)

    async def _edit(self, place: Place, key: ThreadKey, message: int, reply: Reply, post: Post) -> None:
        part = post.parts[0]
        uploads, notes = await self._files.of(part, self.file_limit(key.workspace)) if reply.final else ([], [])
        view, priority = as_view(post.buttons), Priority.FINAL if reply.final else Priority.PROGRESS
        for _ in range(3):  # each refusal is mended at most once
            content = _with_notes(part.content, notes)
            try:
                await self._calls.edit(
                    place.channel, message, content, priority=priority, files=uploads or None, view=view
                )
            except DiscordRefused as error:
                if error.reason == ARCHIVED:
                    await self._places.open_again(place.channel)
                elif error.status == TOO_LARGE and uploads:
                    uploads, notes = [], self._files.named(part)
                else:
                    raise
            else:
                return

    async def find(self, key: ThreadKey, reply: Reply) -> str | None:
        """See bot.ports.Platform: by the key in its buttons, or where it has none by its text."""
        place = await self._places.of(key)
        asked = self._asked.get(key)
        after = int(asked.message_id) if asked is not None else None
        content = outbound.post(reply).parts[0].content
        for message in await self._calls.history(place.channel, FIND_MOST, after=after, priority=Priority.FINAL):
            if message.author.id != self._us.user_id or is_card(message, self._calls.client.user):
                continue
            names = custom_ids(message)
            if any(name.endswith(f":{reply.key}") for name in names) or (not names and message.content == content):
                self._cards.became(key, message.id)
                return str(message.id)
        return None

    async def earlier(self, message: IncomingMessage, limit: int) -> list[Quoted]:
        """See bot.ports.Platform: of the thread and the message it began with, or of the last hour in the channel."""
        key, ours = message.key, int(message.message_id)
        if key.workspace == DIRECT:
            return []
        place = await self._places.of(key)
        if not place.in_thread or message.message_id == key.thread:
            oldest = inbound.snowflake(message.sent_at - timedelta(minutes=CHANNEL_CONTEXT_MINUTES))
            found = await self._calls.history(int(key.channel), limit, before=ours)
            found = [said for said in found if said.id >= oldest]
        else:
            found = await self._calls.history(place.channel, limit, before=ours)
            found += await self._calls.history(int(key.channel), 1, before=int(key.thread) + 1)
            found = [said for said in found if said.id == int(key.thread) or said.channel.id == place.channel]
        spoken = [said for said in found if is_spoken(said, self._us) or self._is_answer(said)]
        return [inbound.quoted(said, self._us) for said in reversed(spoken)][-limit:]

    def _is_answer(self, message: discord.Message) -> bool:
        return (
            message.author.id == self._us.user_id
            and bool(message.content)
            and not is_card(message, self._calls.client.user)
        )

    async def fetch(self, attachment: Attachment) -> bytes:
        """See bot.ports.Platform."""
        if not self._config.is_discord_file(attachment.source):
            raise LookupError(f"not a file of Discord's: {attachment.source[:60]}")
        return await download(attachment.source, max(attachment.size, 1 << 20))

    # ---- beyond the port

    async def say(self, channel: int, words: str, answers: int | None = None) -> None:
        """A line of the bot's own that no turn stands behind."""
        name = f"say/{channel}/{answers}/{words}"
        for number, part in enumerate(split(words, MESSAGE_CHARS)[:5]):
            await self._calls.send(
                channel, part, nonce=nonce(f"{name}/{number}"), priority=Priority.PROGRESS, answers=answers
            )

    async def announce(self, channel: int, words: str, interaction: int) -> int:
        """Say what somebody asked by a command; the message that this is. A second delivery is the same message."""
        self._calls.allowed_again(channel)
        name = nonce(f"ask/{interaction}")
        return await self._calls.send(channel, words[:MESSAGE_CHARS], nonce=name, priority=Priority.FINAL)

    async def take_back(self, channel: int, message: int) -> None:
        """Delete what `announce` said."""
        try:
            await self._calls.delete(channel, message, Priority.FINAL)
        except (DiscordRefused, OSError) as error:
            log.warning("discord.not_taken_back", error=str(error))

    async def delete(self, key: ThreadKey, message_ids: list[str]) -> None:
        """Take answers of ours back."""
        place = await self._places.of(key)
        for message in message_ids:
            if message != GONE:
                await self._calls.delete(place.channel, int(message), Priority.FINAL)


def _with_notes(content: str, notes: list[str]) -> str:
    """A message and why a file is not with it; what is too much is cut off the notes."""
    lines = [content] if content else []
    for note in notes:
        if sum(len(line) + 1 for line in [*lines, note]) <= MESSAGE_CHARS:
            lines.append(note)
    return "\n".join(lines)


def _is_part(message: discord.Message, part: Part) -> bool:
    """Whether an earlier try posted this part of a reply."""
    if part.content:
        return message.content == part.content
    return not message.content and len(message.attachments) == len(part.artifacts)
