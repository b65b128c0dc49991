"""A command on a terminal of its own, as a person sees it and types."""

from __future__ import annotations

import codecs
import os
import pty
import select
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.doubles.command import Command, end, start
from tests.e2e.threadbox import environment

CTRL_C, CTRL_D = b"\x03", b"\x04"


@dataclass
class Terminal:
    """What stands on it so far is `shown`."""

    process: Command
    fd: int
    shown: str = ""
    _ahead: str = ""
    _decode: codecs.IncrementalDecoder = field(default_factory=codecs.getincrementaldecoder("utf-8"))

    def type(self, line: str) -> None:
        self.press(line.encode() + b"\r")

    def press(self, keys: bytes) -> None:
        os.write(self.fd, keys)

    def wait_for(self, text: str, seconds: float = 60.0) -> str:
        """Take what comes until `text` does; what came since the last wait, up to its end."""
        until = time.monotonic() + seconds
        got = ""
        while text not in got:
            left = until - time.monotonic()
            assert left > 0, f"{text!r} never came: {self.shown + got}"
            got += self._read(left)
        before, _, after = got.partition(text)
        self.shown += before + text
        self._ahead = after
        return before + text

    @property
    def echoes(self) -> bool:
        """Whether what is typed is shown, as a shell wants it."""
        return bool(termios.tcgetattr(self.fd)[3] & termios.ECHO)

    def end(self, seconds: float = 60.0) -> int:
        """The exit code, once it has ended by itself."""
        until = time.monotonic() + seconds
        with suppress(EOFError):
            while (left := until - time.monotonic()) > 0:
                self.shown += self._read(left)
        return self.process.wait(max(1.0, until - time.monotonic()))

    def _read(self, seconds: float) -> str:
        if self._ahead:
            ahead, self._ahead = self._ahead, ""
            return ahead
        if not select.select([self.fd], [], [], seconds)[0]:
            return ""
        try:
            data = os.read(self.fd, 65_536)
        except OSError as error:  # Linux: nobody has the other side open any more
            raise EOFError(self.shown) from error
        if not data:
            raise EOFError(self.shown)
        return self._decode.decode(data)


@contextmanager
def terminal(folder: Path, *arguments: str, **settings: str) -> Iterator[Terminal]:
    """Start a command; at the end, end it if it has not ended."""
    ours, theirs = pty.openpty()
    process = start(arguments, environment(folder, TERM="xterm", **settings), folder, [theirs] * 3, terminal=True)
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        end(process)
        os.close(ours)
