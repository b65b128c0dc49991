"""Replies on their way out: written to the outbox before they are posted, edited no faster than a platform allows.

The stable key of a reply makes a turn that begins again find what it had posted. Where a posting is unclear (it was
begun and its answer never came), the platform is asked for the key before anything is posted again.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Callable, Mapping

import structlog
from cachetools import TTLCache

from bot.model import Reply, ThreadKey
from bot.ports import GONE, Platform
from bot.secrets import Redactor
from bot.store_ports import Outbox

log = structlog.get_logger()

TRIES = 5  # for what still grows
FINAL_SECONDS = 300.0  # a platform may be away for so long until an answer is left for the sweep
LONGEST_RETRY_SECONDS = 20.0
AGAIN_MOST = 20  # in one sweep
LEFT_ALONE_SECONDS = 600.0  # a thread that a sweep could not post to
FAILED_KEPT = 1_000  # of those threads; more than the sweeps of that time can try
LINGER_SECONDS = 0.05
FIRST_RETRY_SECONDS = 0.2  # doubled each time


class TurnDelivery:
    """The replies of one turn, delivered in part order by one task; newer content replaces what waits."""

    def __init__(self, outbox: Outbox, platform: Platform, key: ThreadKey, redactor: Redactor) -> None:
        self._outbox = outbox
        self._redactor = redactor
        self._platform = platform
        self._key = key
        self._waiting: dict[int, Reply] = {}
        self._sent: dict[int, Reply] = {}
        self._ids: dict[int, str | None] = {}
        self.earlier: list[Reply] = []
        """What an earlier life of this turn had written, in order."""
        self._wake = asyncio.Event()
        self._closed = False
        self.undelivered = False
        """Whether a final reply could not be posted: the sweep will try again."""

    async def recall(self, turn_id: str) -> None:
        """Read what an earlier life of this turn had posted."""
        for posted in await self._outbox.replies(turn_id):
            self.earlier.append(posted.reply)
            self._ids[posted.reply.part] = posted.message_id  # written is not yet posted: the platform is told again

    def push(self, replies: list[Reply]) -> None:
        """Take new or changed replies; returns at once."""
        for reply in replies:
            self._waiting[reply.part] = self._redactor.reply(reply)
        if replies:
            self._wake.set()

    async def run(self) -> None:
        """Deliver until `close` was called and nothing waits."""
        while not (self._closed and not self._waiting):
            await self._wake.wait()
            self._wake.clear()
            if not any(reply.final or reply.part in self._ids for reply in self._waiting.values()):
                await self._pause(self._platform.hold_seconds)
            if any(reply.final for reply in self._waiting.values()):
                await self._linger()
            for part in sorted(self._waiting):
                reply = self._waiting.pop(part)
                if self._sent.get(part) != reply:
                    await self._deliver(reply)
            if self._waiting and not self._closed and not any(reply.final for reply in self._waiting.values()):
                await self._pause(self._platform.edit_seconds)
            if self._waiting or self._closed:
                self._wake.set()

    async def _linger(self) -> None:
        """The turn may be about to end: its last reply is posted once then, with its buttons, not posted and edited."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while not self._closed:
                    await self._wake.wait()
                    self._wake.clear()

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self._closed:
                    await self._wake.wait()
                    if any(reply.final for reply in self._waiting.values()):
                        return
                    self._wake.clear()

    async def _deliver(self, reply: Reply) -> None:
        known = reply.part in self._ids
        written = known and not reply.final
        until = asyncio.get_running_loop().time() + FINAL_SECONDS
        for attempt in itertools.count():
            try:
                if not written:
                    await self._outbox.write(reply)
                    written = True
                if not await self._show(reply, known=known):
                    return
                break
            except Exception:
                log.exception("delivery.failed", reply=reply.key, attempt=attempt)
                known = True
                # who does not take one final reply is not waited for with each of the others
                lasts = reply.final and not self.undelivered and asyncio.get_running_loop().time() < until
                if attempt + 1 >= TRIES and not lasts:
                    self.undelivered |= reply.final
                    break
                await asyncio.sleep(min(FIRST_RETRY_SECONDS * 2**attempt, LONGEST_RETRY_SECONDS))
        self._ids.setdefault(reply.part, None)
        self._sent[reply.part] = reply

    async def _show(self, reply: Reply, *, known: bool) -> bool:
        """Post a reply or change what was posted; false where the platform wants it when it has grown."""
        kept = message_id = self._ids.get(reply.part)
        if message_id is None and known:
            message_id = await self._platform.find(self._key, reply)
        if message_id is None:
            message_id = await self._platform.publish(self._key, reply)
        elif message_id != GONE:
            message_id = await self._platform.update(self._key, message_id, reply) or message_id
        if message_id and message_id != kept:  # only now: until its files are there too it is for the sweep
            await self._outbox.posted(reply, message_id)  # where this fails the next try looks for it, and records it
            self._ids[reply.part] = message_id
        return bool(message_id)

    def close(self) -> None:
        """Say that nothing more comes."""
        self._closed = True
        self._wake.set()


@contextlib.asynccontextmanager
async def delivering(
    outbox: Outbox, platform: Platform, key: ThreadKey, turn_id: str, redactor: Redactor
) -> AsyncIterator[TurnDelivery]:
    """Deliver beside the block; leaving it waits until everything is posted."""
    delivery = TurnDelivery(outbox, platform, key, redactor)
    await delivery.recall(turn_id)
    async with asyncio.TaskGroup() as group:
        group.create_task(delivery.run(), name=f"delivery-{turn_id}")
        try:
            yield delivery
        finally:
            delivery.close()


class Redelivery:
    """Posts the final replies of ended turns that could not be posted then.

    A thread that fails is left alone for a while, and others are tried before it.
    """

    def __init__(
        self, outbox: Outbox, platforms: Mapping[str, Platform], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._outbox = outbox
        self._platforms = platforms
        self._failed: TTLCache[ThreadKey, bool] = TTLCache(FAILED_KEPT, LEFT_ALONE_SECONDS, timer=clock)

    async def sweep(self) -> int:
        """Try up to `AGAIN_MOST`, the oldest first; how many are settled."""
        settled = 0
        for key, reply in await self._outbox.undelivered(
            AGAIN_MOST, platforms=list(self._platforms), without=list(self._failed)
        ):
            if key in self._failed:  # by an earlier reply of this sweep
                continue
            try:
                message_id = await self._again(self._platforms[key.platform], key, reply)
            except Exception:
                log.exception("delivery.failed_again", reply=reply.key)
                self._failed[key] = True
                continue
            await self._outbox.posted(reply, message_id)
            settled += 1
        return settled

    async def _again(self, platform: Platform, key: ThreadKey, reply: Reply) -> str:
        message_id = await platform.find(key, reply)
        if message_id is None:
            return await platform.publish(key, reply)
        # its text was posted; what goes with it may not have been
        return await platform.update(key, message_id, reply) or message_id
