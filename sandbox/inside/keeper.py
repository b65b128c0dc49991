"""Keeps an interpreter: starts it, starts another when it ends, tries again when no process can be had."""

from __future__ import annotations

import os
import select
import selectors
import signal
import time
from collections.abc import Callable

from .frames import Frame, Kind
from .process import Kernel, kill_group, kill_others

MAX_TRIES = 3  # starts in a row that may fail before a cell is told
TRY_AGAIN_SECONDS = 0.2  # when no process could be had
FD_SETSIZE = 1024  # descriptors from here on are too high for select()
LINGER_SECONDS = 0.001  # by select(), which wakes at once; epoll counts whole milliseconds


class Keeper:
    """The kernel that lives now; `on_death` is told its exit code, and whether it was ready."""

    def __init__(
        self,
        workspace: str,
        selector: selectors.BaseSelector,
        *,
        on_frame: Callable[[Frame], None],
        on_ready: Callable[[], None],
        on_death: Callable[[int, bool], None],
    ) -> None:
        self._workspace = workspace
        self._selector = selector
        self._on_frame = on_frame
        self._on_ready = on_ready
        self._on_death = on_death
        self._kernel: Kernel | None = None
        self._events = 0
        self._failed = 0
        self._start_at = 0.0  # when to try again; 0: it lives, or was given up
        self.state_fd = os.memfd_create("state", os.MFD_CLOEXEC)
        """Where variables are put on their way out or in."""

    @property
    def lives(self) -> bool:
        """Whether there is a process."""
        return self._kernel is not None

    @property
    def ready(self) -> bool:
        """Whether it takes cells."""
        return self._kernel is not None and self._kernel.ready

    @property
    def gave_up(self) -> bool:
        """Whether it was started often enough in vain."""
        return self._kernel is None and not self._start_at

    @property
    def pids(self) -> set[int]:
        """Its process, or nothing."""
        return set() if self._kernel is None else {self._kernel.pid}

    @property
    def kernel(self) -> Kernel:
        """The process; asked for only while it lives."""
        assert self._kernel is not None  # noqa: S101
        return self._kernel

    def start(self, *, afresh: bool = False) -> None:
        """Start one where none lives; `afresh` forgets how often that failed."""
        self._start_at = 0.0
        if afresh:
            self._failed = 0
        try:
            self._kernel = Kernel(self._workspace, self.state_fd)
        except OSError:  # no process left to have: whoever took them all goes, and is reaped before the next try
            kill_others(set(), set())
            self._start_at = time.monotonic() + TRY_AGAIN_SECONDS
            return
        self._events = selectors.EVENT_READ
        self._selector.register(self._kernel, self._events, self._read)

    def _read(self) -> None:
        kernel = self._kernel
        if kernel is None:
            return  # reaped a moment ago, in the same round of the loop
        for frame in kernel.frames():
            if frame.kind is Kind.NOTE and not kernel.ready:
                kernel.ready = True
                self._failed = 0
                self._on_ready()
            else:
                self._on_frame(frame)

    def linger(self) -> None:
        """Wait a moment for what it says next.

        Most cells print and end at once: their output and their end then travel together, and wake the engine, its
        shim and the host once and not twice.
        """
        if self._kernel is None or self._kernel.fileno() >= FD_SETSIZE:
            return
        if select.select([self._kernel], [], [], LINGER_SECONDS)[0]:
            self._read()

    def ask(self, kind: Kind, stream: int, payload: bytes) -> bool:
        """Give it a request that is no cell; false when none lives."""
        if self._kernel is not None:
            self._kernel.ask(kind, stream, payload)
        return self._kernel is not None

    def interrupt(self, stream: int) -> None:
        """Interrupt that cell or request."""
        if self._kernel is not None:
            self._kernel.interrupt(stream)

    def kill(self) -> None:
        """End an interpreter that heeds nothing; another is started once it is reaped."""
        for pid in self.pids:
            kill_group(pid, signal.SIGKILL)

    def died(self, pid: int, code: int) -> bool:
        """A process was reaped; whether it was this one, and then another is started or given up."""
        kernel = self._kernel
        if kernel is None or pid != kernel.pid:
            return False
        self._selector.unregister(kernel)
        kernel.close(code)
        self._kernel = None
        self._failed = 0 if kernel.ready else self._failed + 1
        kill_group(pid, signal.SIGKILL)
        if self._failed < MAX_TRIES:
            self.start()
        self._on_death(code, kernel.ready)
        return True

    def patience(self) -> float | None:
        """How long the loop may sleep for our sake."""
        return TRY_AGAIN_SECONDS if self._start_at else None

    def tick(self) -> None:
        """Try again where that is due, and be woken when a long cell can go on."""
        if self._start_at and time.monotonic() >= self._start_at:
            self.start()
        kernel = self._kernel
        if kernel is None:
            return
        kernel.flush()
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if kernel.wants_write else 0)
        if events != self._events:
            self._events = events
            self._selector.modify(kernel, events, self._read)
