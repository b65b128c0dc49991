"""Discord as a platform: replies are messages of a thread that we edit while they grow."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import discord
import structlog
from cachetools import LRUCache

from adapters.discord import inbound, outbound
from adapters.discord.calls import Calls, DiscordRefused
from adapters.discord.cards import Cards, card_of, custom_ids
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
from adapters.discord.files import download
from adapters.discord.inbound import Identity, is_spoken
from adapters.discord.outbound import Post, nonce
from adapters.discord.places import Places
from adapters.discord.signs import Signs
from adapters.discord.writer import Letter, Writer
from bot.budget import Priority
from bot.markdown import split
from bot.model import Attachment, IncomingMessage, Quoted, Reply, ThreadKey
from bot.ports import GONE, Sign
from bot.signs import ENDS
from bot.store_ports import Artifacts

log = structlog.get_logger()

FIND_MOST = 100
IDS_MOST = 6  # messages of one reply that are remembered


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
        self._writer = Writer(calls, places, artifacts, us)
        self._us = us
        self.signs = Signs(calls, places)
        self._asked: LRUCache[ThreadKey, IncomingMessage] = LRUCache(STATES_KEPT)
        self.file_limit: Callable[[str], int] = lambda workspace: FILE_BYTES
        """How large a file a server takes."""

    async def mark(self, message: IncomingMessage, sign: Sign) -> None:
        """See bot.ports.Platform: never waits for Discord."""
        self.signs.want(message, sign)
        if sign == "working":
            if not self._cards.begin(message.key, message.message_id):
                return  # the request that runs took it up
            self._asked[message.key] = message
            self._places.expect(message)
        elif sign in ENDS:
            self._cards.end(message.key)

    async def publish(self, key: ThreadKey, reply: Reply) -> str:
        """See bot.ports.Platform. A reply takes the place of the card where that is fresh."""
        post = outbound.post(reply)
        state = self._cards.state(key)
        async with state.lock:
            try:
                letter = await self._letter(key, reply, post)
                card = None if post.awaits else self._cards.take(state)
                if card is not None:
                    message = await self._instead_of(card, key, letter)
                else:
                    message = await self._writer.post(letter)
                    await self._cards.remove(key, state)
                ids = [message, *await self._writer.more(letter, [message])]
            except DiscordRefused as error:
                if error.is_lasting:
                    log.warning("discord.not_answered", error=str(error))
                    return GONE
                raise
        self._cards.replied(key, final=reply.final)
        return as_id(ids)

    async def _letter(self, key: ThreadKey, reply: Reply, post: Post) -> Letter:
        place = await self._places.of(key)
        most = self.file_limit(key.workspace)
        return Letter(reply=reply, post=post, place=place, asked=self._asked.get(key), file_limit=most)

    async def _instead_of(self, card: int, key: ThreadKey, letter: Letter) -> int:
        try:
            await self._writer.edit(letter, card)
        except DiscordRefused as error:
            if error.is_gone:  # somebody deleted it
                return await self._writer.post(letter)
            self._cards.give_back(self._cards.state(key), card)
            raise
        except BaseException:
            self._cards.give_back(self._cards.state(key), card)
            raise
        return card

    async def update(self, key: ThreadKey, message_id: str, reply: Reply) -> str | None:
        """See bot.ports.Platform. Progress that cannot be afforded now is left out; what is final never is."""
        if not reply.final and self._calls.budget.room(GLOBAL) < 1:
            return None
        post, ids = outbound.post(reply), ids_of(message_id)
        async with self._cards.state(key).lock:
            try:
                letter = await self._letter(key, reply, post)
                await self._writer.edit(letter, ids[0])
                if reply.final:
                    ids += await self._writer.more(letter, ids)
            except DiscordRefused as error:
                if not error.is_lasting:
                    raise
                log.info("discord.not_edited", error=str(error))  # somebody deleted it
        self._cards.replied(key, final=reply.final)
        return as_id(ids)

    async def find(self, key: ThreadKey, reply: Reply) -> str | None:
        """See bot.ports.Platform: by the key in its buttons, or where it has none by its text."""
        asked = self._asked.get(key)
        after = int(asked.message_id) if asked is not None else None
        content = outbound.post(reply).parts[0].content
        for message in await self._since(key, after):
            if message.author.id != self._us.user_id or card_of(message, self._calls.client.user) is not None:
                continue
            names = custom_ids(message)
            if any(name.endswith(f":{reply.key}") for name in names) or (
                not names and content and message.content.startswith(content)
            ):
                self._cards.became(key, message.id)
                return str(message.id)
        return None

    async def _since(self, key: ThreadKey, after: int | None) -> list[discord.Message]:
        """Nothing of a thread that is no more: whoever posts there is told so."""
        try:
            place = await self._places.of(key)
            return await self._calls.history(place.channel, FIND_MOST, after=after, priority=Priority.FINAL)
        except DiscordRefused as error:
            if error.is_lasting:
                return []
            raise

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
            and card_of(message, self._calls.client.user) is None
        )

    async def fetch(self, attachment: Attachment) -> bytes:
        """See bot.ports.Platform. An address is good for about a day."""
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
        for message in [one for name in message_ids if name != GONE for one in ids_of(name)]:
            await self._calls.delete(place.channel, message, Priority.FINAL)


def as_id(ids: list[int]) -> str:
    """The messages of one reply as its id: the first is the one that is edited."""
    return " ".join(str(one) for one in ids[:IDS_MOST])


def ids_of(name: str) -> list[int]:
    """The messages that `as_id` named."""
    return [int(one) for one in name.split()]
