"""Where replies are shown: on a screen that a person reads, or as JSON lines that a script does."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TextIO

from rich.cells import cell_len

from adapters.terminal.outbound import Growing, Kept
from bot.codec import reply_to_json
from bot.model import File, Picture, Printed, Reply

WORKING = "… working"
ERASE = "\r\x1b[K"  # to the line's start, and all of it: ECMA-48 8.3.41


class Shown(Protocol):
    """What a platform shows replies on."""

    def show(self, reply: Reply, kept: Mapping[str, Kept]) -> None:
        """Show a reply, or what is new of it; `kept` says by artifact where its files are."""

    def working(self, is_working: bool) -> None:
        """Show whether there is more to come."""


class Screen:
    """Adds what is new. On a live one, a terminal of so many columns, also half lines, as they come."""

    def __init__(self, stream: TextIO, columns: Callable[[], int] | None = None) -> None:
        self._stream = _Unbreakable(stream)
        self._columns = columns
        self._growing: dict[str, Growing] = {}
        self._status = False
        self._is_amid_line = False
        self._is_broken = False  # the line that was open was ended by a note

    def show(self, reply: Reply, kept: Mapping[str, Kept]) -> None:
        """See Shown."""
        growing = self._growing.setdefault(reply.key, Growing(whole_lines=self._columns is None))
        text, over = growing.add(reply, kept)
        if text:
            self._erase_status()
            self._stream.write(self._anew(over) + (text.removeprefix("\n") if self._is_broken else text))
            self._is_amid_line, self._is_broken = not text.endswith("\n"), False
        if reply.final:
            del self._growing[reply.key]
            self.working(True)

    def working(self, is_working: bool) -> None:
        """See Shown."""
        if not is_working:
            self._erase_status()
        elif self._columns is not None and not self._status and not self._growing:
            self._status = True
            self._stream.write(WORKING)

    def note(self, text: str) -> None:
        """A line of its own, over the ^C that a terminal shows where the cursor is."""
        self._erase_status()
        self._stream.write(("\n" if self._is_amid_line else ERASE) + f"{text}\n")
        self._is_amid_line, self._is_broken = False, self._is_amid_line

    def _erase_status(self) -> None:
        if self._status:
            self._status = False
            self._stream.write(ERASE)

    def _anew(self, line: str) -> str:
        """What takes a line away; one that was broken at the edge stays, and another is begun."""
        if not line or self._columns is None:
            return ""
        return ERASE if cell_len(line.expandtabs()) < self._columns() else "\n"


class JsonLines:
    """One object a line, each with a `type`, as it comes; `end` writes the last."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = _Unbreakable(stream)
        self._told: dict[str, str] = {}
        self._last: dict[str, Any] = {}

    def show(self, reply: Reply, kept: Mapping[str, Kept]) -> None:
        """See Shown."""
        if not reply.final:
            self._output(reply)
            return
        self._told.pop(reply.key, None)
        self._last = {"part": reply.part, **reply_to_json(reply)}
        self._line(type="reply", **self._last)
        for block in reply.blocks:
            if isinstance(block, Picture | File) and (saved := kept.get(block.artifact.id)) is not None:
                made = block.artifact
                where = {"problem": saved.problem} if saved.problem else {"path": saved.path}
                self._line(type="file", part=reply.part, name=made.name, mime=made.mime, size=made.size, **where)

    def working(self, is_working: bool) -> None:
        """See Shown: a script waits for the next line."""

    def end(self, status: str, exit_code: int, text: str) -> None:
        """The last line: how it ended, with the last reply's fields."""
        self._line(type="end", status=status, exit_code=exit_code, text=text, **self._last)

    def _output(self, reply: Reply) -> None:
        for block in reply.blocks:
            if isinstance(block, Printed) and not block.cut_bytes:
                told = self._told.get(reply.key, "")
                now = block.text[: block.text.rfind("\n") + 1]  # a line that is not whole may still be overwritten
                if now.startswith(told) and now != told:
                    self._told[reply.key] = now
                    self._line(type="output", part=reply.part, text=now[len(told) :])

    def _line(self, **fields: Any) -> None:
        self._stream.write(json.dumps(fields) + "\n")


class _Unbreakable:
    """A stream that each write reaches at once. When its reader has gone nothing fails: the turn goes on to its end."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # of a locale without our frames

    def write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except BrokenPipeError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())  # or Python fails again when it flushes at the end
            os.close(nowhere)
