"""Whether the event loop was held up by what runs on it, told apart from a machine that made everything wait."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

TICK_SECONDS = 0.01
HELD_UP_SECONDS = 0.3  # what is synchronous takes seconds
WORTH_A_LOOK_SECONDS = 0.05

Wait = tuple[float, float]
"""From when to when somebody slept who wanted to sleep for a tick."""


@dataclass
class LoopWatch:
    """Long sleeps of the loop, and those of a thread beside it."""

    loop: list[Wait] = field(default_factory=list)
    beside: list[Wait] = field(default_factory=list)

    @property
    def held_up(self) -> float:
        """The longest time, in seconds, that the loop was late and a thread beside it was not."""
        return max((end - start - TICK_SECONDS - self._noise(start, end) for start, end in self.loop), default=0.0)

    def _noise(self, start: float, end: float) -> float:
        return sum(max(0.0, min(end, stop) - max(start, begun)) for begun, stop in self.beside)


def _keep(waits: list[Wait], started: float) -> None:
    now = time.monotonic()
    if now - started > WORTH_A_LOOK_SECONDS:
        waits.append((started, now))


@asynccontextmanager
async def loop_watch() -> AsyncIterator[LoopWatch]:
    """Watch the running loop; `held_up` is whole once this has ended."""
    watch, ended = LoopWatch(), threading.Event()

    def beside() -> None:
        while not ended.is_set():
            started = time.monotonic()
            time.sleep(TICK_SECONDS)
            _keep(watch.beside, started)

    async def within() -> None:
        while True:
            started = time.monotonic()
            await asyncio.sleep(TICK_SECONDS)
            _keep(watch.loop, started)

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
