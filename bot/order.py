"""Messages of one thread one after another, the earliest sent first among those that are here."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

from bot.model import ThreadKey

_Waiter = tuple[datetime, int, asyncio.Future[None]]


class ThreadOrder:
    """Platforms deliver in any order, and their SDKs handle each delivery in a task of its own."""

    def __init__(self) -> None:
        self._waiting: dict[ThreadKey, list[_Waiter]] = {}
        self._number = itertools.count()

    @asynccontextmanager
    async def turn_of(self, key: ThreadKey, sent_at: datetime) -> AsyncIterator[None]:
        """Hold a thread; of several that wait the earliest sent comes next."""
        waiting = self._waiting.get(key)
        if waiting is None:
            waiting = self._waiting[key] = []
        else:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            heapq.heappush(waiting, (sent_at, next(self._number), future))
            try:
                await future
            except asyncio.CancelledError:
                if future.done() and not future.cancelled():
                    self._next(key, waiting)
                raise
        try:
            yield
        finally:
            self._next(key, waiting)

    def _next(self, key: ThreadKey, waiting: list[_Waiter]) -> None:
        while waiting:
            _, _, future = heapq.heappop(waiting)
            if not future.done():
                future.set_result(None)
                return
        del self._waiting[key]
