"""How far we have heard, kept over restarts; and after a gap, what was said meanwhile, through the same intake, once.

Everything older than the cursor was handled. Discord tells each channel's newest message when we connect, so only
channels where something was said are read.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime, timedelta

import discord
import structlog

from adapters.discord.calls import Calls, DiscordRefused
from adapters.discord.config import (
    CATCH_UP_CHANNELS,
    CATCH_UP_HOURS,
    CATCH_UP_MESSAGES,
    CURSOR_SECONDS,
    DIRECT,
    NAME,
)
from adapters.discord.inbound import snowflake
from bot.budget import Priority
from bot.store_ports import Memos, People

log = structlog.get_logger()

MEMO = "cursor"
AGAIN_SECONDS = 30.0
TRIES = 5  # to handle one message
OVERLAP = 10_000 << 22  # ten seconds: ids of different channels are not strictly in the order of what we are told


class Cursor:
    """Message ids grow with time: the cursor is one id for all channels."""

    def __init__(
        self,
        calls: Calls,
        memos: Memos,
        people: People,
        clock: Callable[[], datetime],
    ) -> None:
        self._calls = calls
        self._memos = memos
        self._people = people
        self._clock = clock
        self.missed: Callable[[discord.Message], Awaitable[None]]
        self._newest = 0
        self._first = 0
        """Where a first start began: nothing older is for us."""
        self._open: set[int] = set()
        """What is being handled, or could not be: the cursor stays before it."""
        self._failures: dict[int, int] = {}
        self._gap: int | None = None
        """Where the gap began that is being read, or is to be."""
        self._next_gap: int | None = None
        """Where one began since."""
        self._client: discord.Client | None = None
        self._wake = asyncio.Event()

    async def load(self) -> None:
        """Where an earlier process was; a first start has heard everything."""
        kept = await self._memos.get(NAME, MEMO)
        self._newest = int(kept) if kept else snowflake(self._clock())
        self._first = 0 if kept else self._newest
        self.lost()

    def lost(self) -> None:
        """We no longer hear: what comes from here on may be missed, also while an earlier gap is being read."""
        self._next_gap = min(self._next_gap or self.value, self.value)
        if self._gap is None:
            self._gap = self._next_gap

    def wanted(self, client: discord.Client) -> None:
        """We hear again."""
        self._client = client
        self._wake.set()

    @property
    def value(self) -> int:
        """All messages up to this one were handled."""
        held = [message - 1 for message in self._open]
        if self._gap is not None:
            held.append(self._gap)
        return min([self._newest, *held])

    @contextlib.contextmanager
    def at(self, message: int) -> Iterator[None]:
        """A message is being handled; one that fails is read again after a while."""
        self._open.add(message)
        try:
            yield
        except Exception:
            self._failures[message] = self._failures.get(message, 0) + 1
            if self._failures[message] < TRIES:
                asyncio.get_running_loop().call_later(AGAIN_SECONDS, self._wake.set)
                raise
            log.exception("discord.message_given_up", message=message)
        self._failures.pop(message, None)
        self._open.discard(message)
        self._newest = max(self._newest, message)

    async def keep(self) -> None:
        """Write the cursor down every few seconds, until cancelled."""
        written = 0
        while True:
            now = self.value
            if now != written:
                try:
                    await self._memos.put(NAME, MEMO, str(now))
                    written = now
                except Exception:  # a database that fails now may work in a few seconds
                    log.exception("discord.cursor_not_kept")
            await asyncio.sleep(CURSOR_SECONDS)

    async def catch_up(self) -> None:
        """Read what was missed after each gap, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            client = self._client
            if client is None:
                continue
            since, self._next_gap = self.value - OVERLAP, None
            try:
                await self._read_all(client, max(since, self._oldest(), self._first))
            except Exception:  # whatever it was, what was missed is still to be read
                log.exception("discord.catch_up_failed")
                asyncio.get_running_loop().call_later(AGAIN_SECONDS, self._wake.set)
                continue
            self._gap = self._next_gap
            self._open = {message for message in self._open if message > self._oldest()}

    def _oldest(self) -> int:
        return snowflake(self._clock() - timedelta(hours=CATCH_UP_HOURS))

    async def _read_all(self, client: discord.Client, since: int) -> None:
        channels = [channel for guild in client.guilds for channel in _readable(guild, since)]
        for channel in sorted(channels, key=lambda one: one.last_message_id or 0, reverse=True)[:CATCH_UP_CHANNELS]:
            await self._read(channel, since)
        lately = self._clock() - timedelta(hours=CATCH_UP_HOURS)
        for key, _ in await self._people.engaged(NAME, lately, CATCH_UP_CHANNELS, workspace=DIRECT):
            # Discord does not tell of these when we connect
            await self._read(client.get_partial_messageable(int(key.channel)), since)

    async def _read(self, channel: discord.abc.Messageable, since: int) -> None:
        async def work() -> list[discord.Message]:
            after = discord.Object(since)
            return [said async for said in channel.history(limit=CATCH_UP_MESSAGES, after=after, oldest_first=True)]

        try:
            found = await self._calls.do(work, Priority.BACKGROUND)
        except DiscordRefused as error:  # a channel that we were put out of
            log.info("discord.not_caught_up", reason=error.reason)
            return
        if len(found) == CATCH_UP_MESSAGES:
            log.warning("discord.catch_up_cut", messages=CATCH_UP_MESSAGES)
        for message in found:
            try:
                await self.missed(message)
            except Exception:  # it is tried again; others are not kept waiting by it
                log.exception("discord.missed_failed")


Readable = discord.TextChannel | discord.VoiceChannel | discord.StageChannel | discord.Thread


def _readable(guild: discord.Guild, since: int) -> list[Readable]:
    found: list[Readable] = []
    all_channels: list[Readable] = [*guild.text_channels, *guild.voice_channels, *guild.stage_channels, *guild.threads]
    for channel in all_channels:
        if (channel.last_message_id or 0) > since:
            allowed = channel.permissions_for(guild.me)
            if allowed.view_channel and allowed.read_message_history:
                found.append(channel)
    return found
