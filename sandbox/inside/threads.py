"""Which cell a thread of the interpreter belongs to, so that what it prints later is not taken for the next cell's."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from concurrent.futures import thread as pools
from typing import Any

_CELL = "_threadbox_cell"


class CellThreads:
    """Marks every thread with the cell that started it, and a pool's thread with the cell whose work it does."""

    def __init__(self, current: Callable[[], int]) -> None:
        self._current = current
        _before(threading.Thread, "start", lambda thread: setattr(thread, _CELL, self._here()))
        item = getattr(pools, "_WorkItem", None)
        if item is not None:  # a detail of the standard library: without it pools count as their first cell's
            _before(item, "run", lambda work: setattr(threading.current_thread(), _CELL, getattr(work, _CELL, None)))
            _after_init(item, lambda work: setattr(work, _CELL, self._here()))

    def _here(self) -> int:
        cell = getattr(threading.current_thread(), _CELL, None)
        return self._current() if cell is None else int(cell)

    def is_late(self) -> bool:
        """Whether the thread that asks belongs to a cell that has ended."""
        cell = getattr(threading.current_thread(), _CELL, None)
        return cell is not None and cell != self._current()

    def text(self, fd: int) -> io.TextIOWrapper:
        """A text stream on a descriptor, without what late threads write."""
        return _CellText(self, fd)


class _CellText(io.TextIOWrapper):
    def __init__(self, threads: CellThreads, fd: int) -> None:
        raw = io.FileIO(fd, "w", closefd=False)
        super().__init__(io.BufferedWriter(raw), "utf-8", errors="backslashreplace", line_buffering=True)
        self._threads = threads

    def write(self, text: str) -> int:
        return len(text) if self._threads.is_late() else super().write(text)


def _before(owner: Any, name: str, first: Callable[[Any], None]) -> None:
    then = getattr(owner, name)

    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        first(self)
        return then(self, *args, **kwargs)

    setattr(owner, name, wrapped)


def _after_init(owner: Any, then: Callable[[Any], None]) -> None:
    first = owner.__init__

    def wrapped(self: Any, *args: Any, **kwargs: Any) -> None:
        first(self, *args, **kwargs)
        then(self)

    owner.__init__ = wrapped
