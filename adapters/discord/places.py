"""Where a conversation is answered: in its thread, which is made from its first message, or in the channel."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import discord
import structlog
from cachetools import LRUCache
from discord.http import Route

from adapters.discord.calls import THREAD_EXISTS, UNKNOWN_CHANNEL, Calls, DiscordRefused
from adapters.discord.config import DIRECT, PLACES_KEPT, THREAD_MINUTES, TITLE_CHARS
from adapters.discord.inbound import Whereabouts
from adapters.discord.text import without_marks
from bot.budget import Priority
from bot.model import IncomingMessage, ThreadKey
from bot.text import title_of

log = structlog.get_logger()

Json = dict[str, Any]

THREAD_TYPES = {10, 11, 12}  # https://docs.discord.com/developers/resources/channel#channel-object-channel-types
DEFAULT_TITLE = "Threadbox"


@dataclass(frozen=True, slots=True)
class Place:
    """The channel or thread to post in; `in_thread` says which."""

    channel: int
    in_thread: bool


class Places:
    """Bounded; a place is found out once."""

    def __init__(self, calls: Calls, answers_in_thread: Callable[[ThreadKey], Awaitable[bool]]) -> None:
        self._calls = calls
        self._answers_in_thread = answers_in_thread
        self._known: LRUCache[ThreadKey, Place] = LRUCache(PLACES_KEPT)
        self._titles: LRUCache[ThreadKey, str] = LRUCache(PLACES_KEPT)
        self._asking: dict[ThreadKey, asyncio.Lock] = {}
        self._parents: LRUCache[int, Whereabouts] = LRUCache(PLACES_KEPT)
        self._gone: LRUCache[ThreadKey, None] = LRUCache(PLACES_KEPT)
        self.made: LRUCache[ThreadKey, None] = LRUCache(PLACES_KEPT)
        """Threads that this process made: nothing of an earlier one is in them."""

    def expect(self, message: IncomingMessage) -> None:
        """A message whose conversation will need a place."""
        if message.key not in self._known:
            title = without_marks(title_of(message.text, 4 * TITLE_CHARS))[:TITLE_CHARS].strip()
            self._titles[message.key] = title or DEFAULT_TITLE

    def is_thread(self, key: ThreadKey) -> None:
        """Remember that a conversation has its thread already: somebody writes in it."""
        self._gone.pop(key, None)
        self._known[key] = Place(int(key.thread), True)

    async def of(self, key: ThreadKey) -> Place:
        """Where to post; makes the thread where there is none yet. Raises DiscordRefused, ConnectionError.

        What somebody deleted is not made again.
        """
        if key.workspace == DIRECT:
            return Place(int(key.channel), False)
        if key in self._gone:
            raise DiscordRefused(404, UNKNOWN_CHANNEL, "deleted")
        lock = self._asking.setdefault(key, asyncio.Lock())
        try:
            async with lock:
                found = self._known.get(key)
                if found is None:
                    found = await self._find_out(key)
                    self._known[key] = found
                return found
        finally:
            if not lock.locked():
                self._asking.pop(key, None)

    async def _find_out(self, key: ThreadKey) -> Place:
        title = self._titles.pop(key, None)
        makes_thread = await self._answers_in_thread(key)
        if (title is None or not makes_thread) and await self._exists(key):
            return Place(int(key.thread), True)  # made before us
        if makes_thread:
            try:
                await self._make(key, title or DEFAULT_TITLE)
            except DiscordRefused as error:
                log.info("discord.no_thread", channel=key.channel, reason=error.reason)
            else:
                return Place(int(key.thread), True)
        return Place(int(key.channel), False)

    async def _exists(self, key: ThreadKey) -> bool:
        try:
            await self.channel(int(key.thread))
        except DiscordRefused:
            return False
        return True

    async def _make(self, key: ThreadKey, title: str) -> None:
        """Several may try, and an answer may be lost: a thread's id is that of the message it was made from."""
        route = Route("POST", "/channels/{channel_id}/messages/{message_id}/threads",
                      channel_id=int(key.channel), message_id=int(key.thread))  # fmt: skip
        body = {"name": title, "auto_archive_duration": THREAD_MINUTES}
        try:
            await self._calls.do(lambda: self._calls.client.http.request(route, json=body), Priority.FINAL)
            self.made[key] = None
        except DiscordRefused as error:
            if error.reason != THREAD_EXISTS and not await self._exists(key):
                raise
        except ConnectionError:
            if not await self._exists(key):
                raise

    async def channel(self, channel: int) -> Json:
        """A channel or thread as Discord describes it. Raises DiscordRefused, ConnectionError."""
        route = Route("GET", "/channels/{channel_id}", channel_id=channel)
        found: Json = await self._calls.do(lambda: self._calls.client.http.request(route), Priority.FINAL)
        return found

    async def open_again(self, thread: int) -> None:
        """Take a thread out of the archive. Raises DiscordRefused where it is locked."""
        route = Route("PATCH", "/channels/{channel_id}", channel_id=thread)
        await self._calls.do(lambda: self._calls.client.http.request(route, json={"archived": False}), Priority.FINAL)

    async def whereabouts(self, channel: discord.abc.Snowflake, guild: int | None) -> Whereabouts:
        """Where a channel or thread is that something came from. Raises DiscordRefused, ConnectionError."""
        if guild is None:
            return Whereabouts(workspace=DIRECT, channel=str(channel.id))
        if isinstance(channel, discord.Thread):
            return Whereabouts(workspace=str(guild), channel=str(channel.parent_id), thread=str(channel.id))
        if isinstance(channel, discord.abc.GuildChannel):
            return Whereabouts(workspace=str(guild), channel=str(channel.id))
        found = self._parents.get(channel.id)
        if found is None:  # an archived thread is in no cache of discord.py's
            described = await self.channel(channel.id)
            parent, is_thread = str(described.get("parent_id") or ""), described.get("type") in THREAD_TYPES
            found = (
                Whereabouts(workspace=str(guild), channel=parent, thread=str(channel.id))
                if is_thread
                else Whereabouts(workspace=str(guild), channel=str(channel.id))
            )
            self._parents[channel.id] = found
        return found

    def gone(self, place: ThreadKey) -> None:
        """A thread is no more, or a whole channel, or we are out of a server: that may have us again."""
        for key in [key for key in self._known if key.is_within(place)]:
            del self._known[key]
        if place.thread:
            self._gone[place] = None
