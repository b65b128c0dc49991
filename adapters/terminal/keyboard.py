"""Lines that a person types, or that come by a pipe."""

from __future__ import annotations

import asyncio
import io
import sys
import termios
import threading
from contextlib import suppress
from typing import Any


class Keyboard:
    """Standard input. Close it, so that the terminal is as it was although a line was being edited."""

    def __init__(self) -> None:
        self.is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
        self._pipe = io.FileIO(sys.stdin.fileno(), closefd=False)
        self._mode: list[Any] = []
        if self.is_terminal:
            with suppress(ImportError):
                import readline  # noqa: F401 - input() has arrow keys and earlier lines from now on
            self._mode = termios.tcgetattr(sys.stdin)
        self._waiting: asyncio.Future[str | None] | None = None

    async def line(self, prompt: str) -> str | None:
        """The next line; None at the end of all, or once `leave` was called."""
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[str | None] = loop.create_future()
        self._waiting = waiting

        def read() -> None:
            line = self._read(prompt)
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(_give, waiting, line)

        # no thread of the loop's: it would be waited for at the end, and nothing wakes it but another line
        threading.Thread(target=read, name="keyboard", daemon=True).start()
        line: str | None = None
        try:
            line = await waiting
            return line
        finally:
            self._waiting = None
            if line is None and self.is_terminal:
                sys.stdout.write("\n")  # the prompt's line was not ended by a key

    def leave(self) -> bool:
        """Wait for no line any more; whether one was waited for."""
        if self._waiting is None:
            return False
        _give(self._waiting, None)
        return True

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._mode:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._mode)

    def _read(self, prompt: str) -> str | None:
        if self.is_terminal:
            try:
                return input(prompt)
            except (EOFError, OSError):
                return None
        # without Python's own buffer, whose lock this thread would hold when the interpreter ends
        line = self._pipe.readline()
        return line.decode("utf-8", "replace").rstrip("\r\n") if line else None


def _give(waiting: asyncio.Future[str | None], line: str | None) -> None:
    if not waiting.done():
        waiting.set_result(line)
