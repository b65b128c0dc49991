"""What a platform lets us send: token buckets, shared by all who send, the important first.

A bucket is named, as `chat.update` or `post:C123`; a call takes one token from each of its buckets at once.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

BUCKETS_KEPT = 4_096  # full ones are forgotten beyond that
WAITERS_MOST = 10_000


class Priority(IntEnum):
    """Who goes first when the budget is short."""

    FINAL = 0
    PROGRESS = 1
    SIGN = 2
    BACKGROUND = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """So many calls in so many seconds, at most `burst` of them at once."""

    calls: float
    seconds: float
    burst: float


@dataclass
class _Bucket:
    rate: Rate
    tokens: float
    at: float
    paused_until: float = 0.0

    def refill(self, now: float) -> None:
        gained = (now - self.at) * self.rate.calls / self.rate.seconds
        self.tokens = min(self.rate.burst, self.tokens + max(0.0, gained))
        self.at = now

    def wait(self, now: float) -> float:
        """Seconds until it has a token."""
        self.refill(now)
        missing = max(0.0, 1.0 - self.tokens) * self.rate.seconds / self.rate.calls
        return max(missing, self.paused_until - now, 0.0)


class Budget:
    """Token buckets with one queue of those who wait."""

    def __init__(self, rate_of: Callable[[str], Rate], clock: Callable[[], float]) -> None:
        self._rate_of = rate_of
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}
        self._waiting: list[tuple[int, int, tuple[str, ...], asyncio.Future[None]]] = []
        self._held: set[str] = set()
        self._number = itertools.count()
        self._timer: asyncio.TimerHandle | None = None

    def room(self, *names: str) -> float:
        """How many calls could be made now."""
        now = self._clock()
        return min(0.0 if self._bucket(name).wait(now) > 0 else self._bucket(name).tokens for name in names)

    def take_now(self, *names: str) -> bool:
        """Take a token from each, if all have one and nobody waits for one of them."""
        if self._waiting:
            self._serve()
        if self._held.intersection(names):
            return False
        return self._take(names, self._clock())

    async def take(self, *names: str, priority: Priority) -> None:
        """Wait for a token of each. Raises asyncio.QueueFull when too many wait already."""
        if self.take_now(*names):
            return
        if len(self._waiting) >= WAITERS_MOST:
            raise asyncio.QueueFull
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (priority, next(self._number), names, future))
        self._serve()
        await future

    def pause(self, name: str, seconds: float) -> None:
        """The platform said to wait so long."""
        bucket = self._bucket(name)
        bucket.paused_until = max(bucket.paused_until, self._clock() + seconds)

    def _bucket(self, name: str) -> _Bucket:
        bucket = self._buckets.get(name)
        if bucket is None:
            if len(self._buckets) >= BUCKETS_KEPT:
                self._forget()
            rate = self._rate_of(name)
            bucket = self._buckets[name] = _Bucket(rate, rate.burst, self._clock())
        return bucket

    def _forget(self) -> None:
        now = self._clock()
        for name, bucket in list(self._buckets.items()):
            bucket.refill(now)
            if bucket.tokens >= bucket.rate.burst and bucket.paused_until <= now:
                del self._buckets[name]

    def _take(self, names: tuple[str, ...], now: float) -> bool:
        buckets = [self._bucket(name) for name in names]
        if any(bucket.wait(now) > 0 for bucket in buckets):
            return False
        for bucket in buckets:
            bucket.tokens -= 1
        return True

    def _serve(self) -> None:
        """Let go whoever can; one that waits keeps the buckets that it waits for from all who are less important."""
        now = self._clock()
        kept: list[tuple[int, int, tuple[str, ...], asyncio.Future[None]]] = []
        held: set[str] = set()
        soonest = float("inf")
        while self._waiting:
            waiter = heapq.heappop(self._waiting)
            _, _, names, future = waiter
            if future.done():
                continue
            if not held.intersection(names) and self._take(names, now):
                future.set_result(None)
                continue
            held.update(name for name in names if self._bucket(name).wait(now) > 0)
            kept.append(waiter)
            soonest = min(soonest, max(self._bucket(name).wait(now) for name in names))
        self._waiting = kept
        self._held = held
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if kept:
            self._timer = asyncio.get_running_loop().call_later(max(soonest, 0.001), self._serve)
