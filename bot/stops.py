"""The turns that run in this process, so that a Stop finds them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from cachetools import TTLCache

from bot.model import ThreadKey

STOPPED_KEPT = 1_000
JUST_NOW_SECONDS = 5.0


class Stop:
    """Asks a running turn to end; waited for by whatever it is doing."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.reason: Literal["person", "time"] = "person"

    @property
    def is_set(self) -> bool:
        """Whether the turn was asked to end."""
        return self._event.is_set()

    def set(self, reason: Literal["person", "time"] = "person") -> None:
        """Ask."""
        if not self._event.is_set():
            self.reason = reason
            self._event.set()

    async def wait(self) -> None:
        """Return once asked."""
        await self._event.wait()


class _Running(NamedTuple):
    stop: Stop
    asked_at: datetime
    turn_id: str
    since: float


class Stops:
    """One Stop a running turn, by thread."""

    def __init__(self) -> None:
        self._running: dict[ThreadKey, _Running] = {}
        self._stopped: TTLCache[ThreadKey, bool] = TTLCache(STOPPED_KEPT, JUST_NOW_SECONDS)

    @contextlib.contextmanager
    def running(self, key: ThreadKey, asked_at: datetime, turn_id: str) -> Iterator[Stop]:
        """The Stop of a turn, for as long as it runs; `asked_at` is when its message was sent."""
        stop = Stop()
        self._running[key] = _Running(stop, asked_at, turn_id, time.monotonic())
        try:
            yield stop
        finally:
            self._running.pop(key, None)

    def stop(self, key: ThreadKey, before: datetime | None = None, turn_id: str | None = None) -> bool:
        """Ask the turn of a thread to end; whether there was one.

        A turn that was asked for later goes on, and so does any but `turn_id` where that is named.
        """
        running = self._running.get(key)
        if running is None or (before is not None and running.asked_at > before):
            return False
        if turn_id is not None and running.turn_id != turn_id:
            return False
        running.stop.set()
        self._stopped[key] = True
        return True

    def was_stopped(self, key: ThreadKey) -> bool:
        """Whether somebody stopped a turn here just now: who says it twice means that one."""
        return key in self._stopped

    def within(self, place: ThreadKey) -> list[ThreadKey]:
        """The threads of a channel or workspace where a turn runs."""
        return [key for key in self._running if key.is_within(place)]

    def since(self, key: ThreadKey) -> timedelta | None:
        """How long the turn of a thread has run."""
        found = self._running.get(key)
        return timedelta(seconds=time.monotonic() - found.since) if found is not None else None

    @property
    def count(self) -> int:
        """How many turns run."""
        return len(self._running)
