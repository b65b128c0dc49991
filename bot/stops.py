"""The turns that run in this process, so that a Stop finds them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from bot.model import ThreadKey
from bot.ports import Stop


class Stops:
    """One Stop a running turn, by thread."""

    def __init__(self) -> None:
        self._running: dict[ThreadKey, Stop] = {}

    @contextlib.contextmanager
    def running(self, key: ThreadKey) -> Iterator[Stop]:
        """The Stop of a turn, for as long as it runs."""
        stop = self._running[key] = Stop()
        try:
            yield stop
        finally:
            self._running.pop(key, None)

    def stop(self, key: ThreadKey) -> bool:
        """Ask the turn of a thread to end; whether there was one."""
        stop = self._running.get(key)
        if stop is not None:
            stop.set()
        return stop is not None
