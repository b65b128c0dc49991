"""Lines that a person types, or that come by a pipe."""

from __future__ import annotations

import asyncio
import io
import sys
import termios
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any


class Keyboard:
    """Standard input. Close it, so that the terminal is as it was although a line was being edited."""

    def __init__(self) -> None:
        self.is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
        self.was_left = False
        """Whether the last line was not waited for to its end."""
        self._pipe = io.FileIO(sys.stdin.fileno(), closefd=False)
        self._mode: list[Any] = []
        # without an editor the terminal throws away at Ctrl-C what was typed of a line
        self._half_typed: Callable[[], str] = lambda: ""
        if self.is_terminal:
            with suppress(ImportError):
                import readline  # input() has arrow keys and earlier lines from now on

                self._half_typed = readline.get_line_buffer
            self._mode = termios.tcgetattr(sys.stdin)
        self._waiting: asyncio.Future[str | None] | None = None
        self._is_reading = False
        self._thrown_away = ""  # what the line that is being read begins with, although nobody wants that any more

    async def line(self, prompt: str) -> str | None:
        """The next line; None at the end of all, or once `leave` was called."""
        self.was_left = False
        waiting = self._waiting = asyncio.get_running_loop().create_future()
        if self._is_reading:
            self._take_over(prompt)
        else:
            self._begin(prompt)
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
        if not self._waiting.done():
            self.was_left = True
            self._waiting.set_result(None)
        return True

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._mode:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._mode)

    def _begin(self, prompt: str) -> None:
        loop = asyncio.get_running_loop()

        def read() -> None:
            line = self._read(prompt)
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(self._came, line)

        self._is_reading = True
        # no thread of the loop's: it would be waited for at the end, and nothing wakes it but another line
        threading.Thread(target=read, name="keyboard", daemon=True).start()

    def _take_over(self, prompt: str) -> None:
        """Nothing but a key wakes the reader of a line that was left: it reads this one."""
        self._thrown_away = self._half_typed()
        sys.stdout.write(prompt)
        sys.stdout.flush()

    def _read(self, prompt: str) -> str | None:
        if self.is_terminal:
            try:
                return input(prompt)
            except (EOFError, OSError):
                return None
        # without Python's own buffer, whose lock this thread would hold when the interpreter ends
        line = self._pipe.readline()
        return line.decode("utf-8", "replace").rstrip("\r\n") if line else None

    def _came(self, line: str | None) -> None:
        self._is_reading = False
        thrown_away, self._thrown_away = self._thrown_away, ""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(line and line.removeprefix(thrown_away))
