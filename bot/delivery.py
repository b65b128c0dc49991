"""Replies on their way out: written to the outbox before they are posted, edited no faster than a platform allows.

The stable key of a reply makes a turn that begins again find what it had posted. Where a posting is unclear (it was
begun and its answer never came), the platform is asked for the key before anything is posted again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import structlog

from bot.model import Reply, ThreadKey
from bot.ports import Outbox, Platform
from bot.secrets import Redactor

log = structlog.get_logger()

TRIES = 5
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
        self._wake = asyncio.Event()
        self._closed = False

    async def recall(self, turn_id: str) -> None:
        """Read what an earlier life of this turn had posted."""
        for posted in await self._outbox.replies(turn_id):
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
        message_id = self._ids.get(reply.part)
        for attempt in range(TRIES):
            try:
                if not written:
                    await self._outbox.write(reply)
                    written = True
                if message_id is None and known:
                    message_id = await self._platform.find(self._key, reply)
                if message_id is None:
                    message_id = await self._platform.publish(self._key, reply) or None
                    if message_id is None:
                        return
                    await self._outbox.posted(reply, message_id)
                else:
                    await self._platform.update(self._key, message_id, reply)
                break
            except Exception:
                log.exception("delivery.failed", reply=reply.key, attempt=attempt)
                known = True
                await asyncio.sleep(FIRST_RETRY_SECONDS * 2**attempt)
        self._ids[reply.part] = message_id
        self._sent[reply.part] = reply

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
