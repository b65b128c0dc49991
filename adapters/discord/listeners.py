"""What Discord tells us, handed on: messages to the intake, what is gone to the command core."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import discord
import structlog
from cachetools import LRUCache, TTLCache

from adapters.discord import inbound
from adapters.discord.adapter import DiscordPlatform
from adapters.discord.calls import Calls, DiscordRefused
from adapters.discord.cards import Cards
from adapters.discord.config import (
    DIRECT,
    FILE_BYTES,
    NAME,
    RERUN_KEPT,
    RERUN_PRESS_SECONDS,
    RERUN_SECONDS,
    DiscordConfig,
)
from adapters.discord.cursor import Cursor
from adapters.discord.inbound import Identity, Whereabouts
from adapters.discord.places import Places
from adapters.discord.presses import Presses
from bot.budget import Priority
from bot.core import Core
from bot.errors import Refused
from bot.model import IncomingMessage, Person, ThreadKey
from bot.order import ThreadOrder

log = structlog.get_logger()

AGAIN = "🔁"
MUTED = "🔇"  # on a message that we may not answer where it is
HEARD_KEPT = 20_000
MEMBERS_KEPT = 1_000
MEMBER_SECONDS = 60.0  # how long we believe what roles somebody has, while catching up
UNREAD = "Discord does not show me what you wrote. Mention me, or leave the ping of your answer on."


class _Offer(NamedTuple):
    """To run a changed message again."""

    turn_id: str
    channel: int
    until: float


class DiscordListeners:
    """See client.Heard."""

    def __init__(
        self,
        core: Core,
        config: DiscordConfig,
        us: Identity,
        calls: Calls,
        places: Places,
        cards: Cards,
        platform: DiscordPlatform,
        cursor: Cursor,
    ) -> None:
        self._core = core
        self._config = config
        self._us = us
        self._calls = calls
        self._places = places
        self._cards = cards
        self._platform = platform
        self._cursor = cursor
        self.presses = Presses(core, config, us, places, platform, self.claim)
        self._heard: LRUCache[int, None] = LRUCache(HEARD_KEPT)
        self._order = ThreadOrder()
        self._offers: LRUCache[int, _Offer] = LRUCache(RERUN_KEPT)
        self._members: TTLCache[tuple[int, int], Person] = TTLCache(MEMBERS_KEPT, MEMBER_SECONDS)
        self._client: discord.Client | None = None
        self._hears = False
        self.on_connected: Callable[[], object] = lambda: None

    # ---- messages

    async def message(self, message: discord.Message) -> None:
        """See Heard. What fails is not passed by the cursor: it is read again after a while."""
        if message.id in self._heard:  # a second delivery
            return
        self._heard[message.id] = None
        with self._cursor.at(message.id):
            try:
                await self._message(message)
            except BaseException:
                self._heard.pop(message.id, None)
                raise

    async def _message(self, message: discord.Message) -> None:
        if not inbound.is_spoken(message, self._us) or (message.guild is None and not self._config.direct_messages):
            return
        guild = message.guild.id if message.guild is not None else DIRECT
        here = ThreadKey(platform=NAME, workspace=str(guild), channel=str(message.channel.id), thread="")
        async with self._order.turn_of(here, message.created_at):  # what we ask of Discord must not mix them up
            incoming = await self._incoming(message)
        if incoming is None:
            return
        if not inbound.may_answer(message):
            await self._calls.react(message.channel.id, message.id, MUTED)
        elif message.guild is not None and not (self._us.reads_messages or inbound.mentions_us(message, self._us)):
            await self._tell(message.channel.id, UNREAD, incoming)  # an answer of which Discord keeps the text
        else:
            await self.take(incoming, message.channel.id)

    async def _incoming(self, message: discord.Message) -> IncomingMessage | None:
        """A message with who wrote it and where; None for one that is not for us to take."""
        where = await self._places.whereabouts(message.channel, message.guild.id if message.guild is not None else None)
        author = inbound.person(message.author, self._config.admins)
        incoming = inbound.incoming(message, self._us, author, where, await self._root(message, where))
        if where.thread:
            self._places.is_thread(incoming.key)
        self._cards.covered(incoming.key)
        if not self._is_asked(incoming, where):
            return None
        if message.guild is not None and not isinstance(message.author, discord.Member):
            incoming = replace(incoming, author=await self._member(message.guild, message.author))
        return incoming

    def _is_asked(self, message: IncomingMessage, where: Whereabouts) -> bool:
        """Not people among themselves in a channel, nor what Discord gives us no text of, nor a sticker or a poll."""
        if message.for_us:
            return True
        return bool(where.thread and self._us.reads_messages and (message.text or message.attachments))

    async def _member(self, guild: discord.Guild, user: discord.abc.User) -> Person:
        """Who wrote, where Discord told it without their roles, as of what was missed."""
        if (known := self._members.get((guild.id, user.id))) is not None:
            return known
        try:
            member = await self._calls.do(lambda: guild.fetch_member(user.id), Priority.FINAL)
            person = inbound.person(member, self._config.admins)
        except DiscordRefused:  # they have left
            person = replace(inbound.person(user, frozenset()), standing="unknown")
        self._members[(guild.id, user.id)] = person
        return person

    async def _root(self, message: discord.Message, where: Whereabouts) -> str:
        """The conversation of ours in a channel that a message goes on with: it answers one of our answers."""
        before = inbound.answered(message)
        if where.thread or where.workspace == DIRECT or before is None or before.author.id != self._us.user_id:
            return ""
        history, key = self._core.history, where.key()
        turn = await history.turn_of(key, str(before.id))  # it says what somebody asked by a command
        if turn is None and (asked := await self._answered_by(message.channel.id, before)) is not None:
            turn = await history.turn_of(key, str(asked))
        return turn.key.thread if turn is not None else ""

    async def _answered_by(self, channel: int, ours: discord.Message) -> int | None:
        """The message that an answer of ours is to; Discord does not always send that along."""
        if ours.reference is None:
            try:
                ours = await self._calls.message(channel, ours.id)
            except DiscordRefused:
                return None
        return ours.reference.message_id if ours.reference is not None else None

    async def take(self, message: IncomingMessage, channel: int) -> None:
        """Claim and queue a message; who wrote it is told what stands against that."""
        try:
            await self.claim(message, channel)
        except Refused as error:
            await self._tell(channel, error.for_people, message)

    async def claim(self, message: IncomingMessage, channel: int) -> None:
        """Claim and queue a message, or answer a command. Raises Refused."""
        self._calls.allowed_again(channel)
        receipt = await self._core.intake.claim(message, self._platform)
        await self._core.intake.begin(receipt)
        if receipt.answer:
            await self._tell(channel, receipt.answer, message)

    async def _tell(self, channel: int, words: str, message: IncomingMessage) -> None:
        try:
            await self._platform.say(channel, words, int(message.message_id))
        except (DiscordRefused, OSError) as error:
            log.warning("discord.not_told", error=str(error))

    # ---- edits and deletions

    async def edited(self, event: discord.RawMessageUpdateEvent) -> None:
        """See Heard. Discord tells the same when it unfurls a link: only a changed text counts."""
        message = event.message
        if not inbound.is_spoken(message, self._us) or (not self._us.reads_messages and not message.content):
            return
        key = await self._key(event.channel_id, event.guild_id)
        turn = await self._core.intake.edited(key, str(event.message_id), inbound.text_of(message, self._us))
        age = (self._core.clock() - message.created_at).total_seconds()
        if turn is None or age > RERUN_SECONDS:
            return
        now = asyncio.get_running_loop().time()
        self._offers[event.message_id] = _Offer(turn.id, event.channel_id, now + RERUN_PRESS_SECONDS)
        await self._calls.react(event.channel_id, event.message_id, AGAIN)

    async def reacted(self, event: discord.RawReactionActionEvent) -> None:
        """See Heard: whoever may, takes the offer to run a changed message again."""
        offer = self._offers.get(event.message_id)
        if offer is None or str(event.emoji) != AGAIN or event.user_id == self._us.user_id:
            return
        if asyncio.get_running_loop().time() > offer.until:
            del self._offers[event.message_id]
            await self._calls.react(offer.channel, event.message_id, AGAIN, on=False)
            return
        user = event.member or await self._calls.client.fetch_user(event.user_id)
        try:
            await self._core.intake.retry(offer.turn_id, inbound.person(user, self._config.admins))
        except (Refused, LookupError) as error:
            log.info("discord.not_again", error=str(error))
            return
        self._offers.pop(event.message_id, None)
        await self._calls.react(offer.channel, event.message_id, AGAIN, on=False)

    async def deleted(self, event: discord.RawMessageDeleteEvent | discord.RawBulkMessageDeleteEvent) -> None:
        """See Heard."""
        key = await self._key(event.channel_id, event.guild_id)
        gone = event.message_ids if isinstance(event, discord.RawBulkMessageDeleteEvent) else {event.message_id}
        for message in gone:
            await self._core.intake.deleted(key, str(message))

    async def _key(self, channel: int, guild: int | None) -> ThreadKey:
        """The place of a message of which only the channel is told."""
        known = self._client.get_channel(channel) if guild is not None and self._client is not None else None
        found = known if isinstance(known, discord.Thread | discord.abc.GuildChannel) else discord.Object(channel)
        return (await self._places.whereabouts(found, guild)).key(str(channel))

    # ---- what is no more

    async def thread_changed(self, event: discord.RawThreadUpdateEvent) -> None:
        """See Heard: an archived thread opens again by itself, a locked one does not."""
        state = event.data.get("thread_metadata") or {}
        if state.get("archived") and state.get("locked"):
            place = ThreadKey(
                platform=NAME,
                workspace=str(event.guild_id),
                channel=str(event.parent_id),
                thread=str(event.thread_id),
            )
            await self._release(place, for_good=False)

    async def gone(self, workspace: int, channel: int | None = None, thread: int | None = None) -> None:
        """See Heard."""
        place = ThreadKey(platform=NAME, workspace=str(workspace), channel=str(channel or ""), thread=str(thread or ""))
        await self._release(place, for_good=True)

    async def _release(self, place: ThreadKey, *, for_good: bool) -> None:
        if for_good:
            self._places.gone(place)
        count = await self._core.commands.gone(place, for_good=for_good)
        log.info("discord.released", sandboxes=count, for_good=for_good)

    # ---- the rest

    async def interaction(self, interaction: discord.Interaction) -> None:
        """See Heard."""
        await self.presses.interaction(interaction)

    async def connected(self, client: discord.Client) -> None:
        """See Heard."""
        if not self._hears:
            log.info("discord.connected")
        self._client, self._hears = client, True
        self._platform.file_limit = lambda workspace: _file_limit(client, workspace)
        self._cursor.wanted(client)
        self.on_connected()

    async def disconnected(self) -> None:
        """See Heard."""
        if self._hears:
            log.warning("discord.disconnected")
        self._hears = False
        self._cursor.lost()


def _file_limit(client: discord.Client, workspace: str) -> int:
    guild = client.get_guild(int(workspace)) if workspace.isdigit() else None
    return guild.filesize_limit if guild is not None else FILE_BYTES
