"""Standard output and error of one run: pipes of its own, so that what it leaves behind prints into no later run."""

from __future__ import annotations

import os
import selectors
from collections import deque
from collections.abc import Callable

from .frames import Kind

READ_BYTES = 1 << 16  # of one pipe at a time
MAX_OLD = 32  # pipes of earlier runs that somebody still holds; the oldest is closed


class Output:
    """Two pipes; `on_ready` is called when something is to be read."""

    def __init__(self, selector: selectors.BaseSelector, on_ready: Callable[[], object]) -> None:
        self._selector = selector
        stdout, self.stdout_in = os.pipe()
        stderr, self.stderr_in = os.pipe()
        self._pipes = {stdout: Kind.STDOUT, stderr: Kind.STDERR}
        for fd in self._pipes:
            os.set_blocking(fd, False)
            selector.register(fd, selectors.EVENT_READ, on_ready)

    def give(self) -> list[int]:
        """The writing ends, which are the caller's to close: without them we see when the last has gone."""
        return [self.stdout_in, self.stderr_in]

    def read(self) -> list[tuple[Kind, bytes]]:
        """What each pipe has, once."""
        got = []
        for fd, kind in list(self._pipes.items()):
            try:
                data = os.read(fd, READ_BYTES)
            except BlockingIOError:
                continue
            if data:
                got.append((kind, data))
            else:
                self._close(fd)
        return got

    def _close(self, fd: int) -> None:
        self._selector.unregister(fd)
        os.close(fd)
        del self._pipes[fd]

    @property
    def is_open(self) -> bool:
        """Whether anybody can still write."""
        return bool(self._pipes)

    def close(self) -> None:
        """Read no more; who writes gets SIGPIPE."""
        for fd in list(self._pipes):
            self._close(fd)

    def ignore(self) -> None:
        """Read on, so that nobody blocks, and keep nothing."""
        for fd in self._pipes:
            self._selector.modify(fd, selectors.EVENT_READ, self.read)


class OldOutputs:
    """Outputs of ended runs that processes in the background still write to."""

    def __init__(self) -> None:
        self._outputs: deque[Output] = deque()

    def add(self, output: Output) -> None:
        """Take over an output whose run has ended."""
        self._outputs = deque(old for old in self._outputs if old.is_open)
        if output.is_open:
            output.ignore()
            self._outputs.append(output)
        while len(self._outputs) > MAX_OLD:
            self._outputs.popleft().close()
