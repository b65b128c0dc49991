"""Whether the event loop was held up by what runs on it, told apart from a machine that made everything wait."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

TICK_SECONDS = 0.01
HELD_UP_SECONDS = 0.3  # what is synchronous takes seconds
WORTH_A_LOOK_SECONDS = 0.05


class Wait(NamedTuple):
    """Somebody slept who wanted to sleep for a tick: when, and what its thread had of the processor meanwhile."""

    start: float
    end: float
    used: float


@dataclass
class LoopWatch:
    """Long sleeps of the loop, and those of a thread beside it."""

    loop: list[Wait] = field(default_factory=list)
    beside: list[Wait] = field(default_factory=list)

    @property
    def held_up(self) -> float:
        """The longest time, in seconds, that the loop was late and a thread beside it was not.

        What the loop's thread has computed counts whole: one call in C may keep every other thread waiting.
        """
        return max((max(late.used, self._alone(late)) for late in self.loop), default=0.0)

    def _alone(self, late: Wait) -> float:
        noise = sum(max(0.0, min(late.end, other.end) - max(late.start, other.start)) for other in self.beside)
        return late.end - late.start - TICK_SECONDS - noise


def _keep(waits: list[Wait], start: float, used: float) -> None:
    end = time.monotonic()
    if end - start > WORTH_A_LOOK_SECONDS:
        waits.append(Wait(start, end, time.thread_time() - used))


@asynccontextmanager
async def loop_watch() -> AsyncIterator[LoopWatch]:
    """Watch the running loop; `held_up` is whole once this has ended."""
    watch, ended = LoopWatch(), threading.Event()

    def beside() -> None:
        while not ended.is_set():
            started = time.monotonic(), time.thread_time()
            time.sleep(TICK_SECONDS)
            _keep(watch.beside, *started)

    async def within() -> None:
        while True:
            started = time.monotonic(), time.thread_time()
            await asyncio.sleep(TICK_SECONDS)
            _keep(watch.loop, *started)

    thread = threading.Thread(target=beside, daemon=True)
    thread.start()
    ticking = asyncio.ensure_future(within())
    try:
        yield watch
    finally:
        ticking.cancel()
        await asyncio.gather(ticking, return_exceptions=True)
        ended.set()
        await asyncio.to_thread(thread.join)
