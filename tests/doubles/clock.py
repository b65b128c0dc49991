"""Clocks that tests advance."""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any


class Clock:
    """Seconds; call it to read them."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class WallClock:
    """The time of day in UTC; call it to read it."""

    def __init__(self, now: datetime = datetime(2026, 11, 23, 8, tzinfo=UTC)) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class _Waits(selectors.DefaultSelector):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> Any:
        if timeout is not None and timeout > 0:
            self._clock.now += timeout
            timeout = 0
        return super().select(timeout)


class VirtualTime(asyncio.SelectorEventLoop):
    """A loop whose waits take no time: when it has nothing to do, its clock goes to the next moment that has.

    For code that waits for no thread, process or socket: that would find its time gone.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        super().__init__(_Waits(self.clock))

    def time(self) -> float:
        return self.clock.now


def in_virtual_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test that runs on such a loop of its own."""

    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        with asyncio.Runner(loop_factory=VirtualTime) as runner:
            runner.run(test(*arguments, **named))

    return run
