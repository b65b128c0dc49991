"""The turns that run in this process, so that a Stop finds them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Literal

from bot.model import ThreadKey


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


class Stops:
    """One Stop a running turn, by thread."""

    def __init__(self) -> None:
        self._running: dict[ThreadKey, tuple[Stop, datetime, float]] = {}

    @contextlib.contextmanager
    def running(self, key: ThreadKey, asked_at: datetime) -> Iterator[Stop]:
        """The Stop of a turn, for as long as it runs; `asked_at` is when its message was sent."""
        stop = Stop()
        self._running[key] = (stop, asked_at, time.monotonic())
        try:
            yield stop
        finally:
            self._running.pop(key, None)

    def stop(self, key: ThreadKey, before: datetime | None = None) -> bool:
        """Ask the turn of a thread to end; whether there was one. A turn that was asked for later goes on."""
        stop, asked_at, _ = self._running.get(key, (None, None, 0.0))
        if stop is None or (before is not None and asked_at is not None and asked_at > before):
            return False
        stop.set()
        return True

    def in_channel(self, place: ThreadKey) -> list[ThreadKey]:
        """The threads of a channel where a turn runs."""
        where = (place.platform, place.workspace, place.channel)
        return [key for key in self._running if (key.platform, key.workspace, key.channel) == where]

    def since(self, key: ThreadKey) -> timedelta | None:
        """How long the turn of a thread has run."""
        found = self._running.get(key)
        return timedelta(seconds=time.monotonic() - found[2]) if found is not None else None

    @property
    def count(self) -> int:
        """How many turns run."""
        return len(self._running)
