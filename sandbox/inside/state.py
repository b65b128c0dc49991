"""Save and restore: the files and the variables of a sandbox as one stream, files first, asked for by the host.

What the user's variables do while they are pickled is bounded by a clock here, and costs at most the variables.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from typing import Any

from .archive import Packer, Unpacker, read_exactly, record
from .cells import Cells
from .files import Refused, Workspace
from .frames import Frame, Kind
from .link import HostLink
from .process import parse_json

GRACE = 1.0  # seconds after the interrupt for a variable to give up
WAITING = ("starting", "asked", "interrupted")  # the stages in which the interpreter has yet to answer


class State:
    """One save or restore at a time, beside which no code runs: the host's lease sees to that."""

    def __init__(self, link: HostLink, files: Workspace, cells: Cells) -> None:
        self._link = link
        self._files = files
        self._cells = cells
        self._stream = 0
        self._request: dict[str, Any] = {}
        self._credit = 0
        self._source: Iterator[bytes] | None = None
        self._unpacker: Unpacker | None = None
        self._kernel_stage = ""  # -> starting -> asked -> interrupted -> answered
        self._kind = Kind.SAVE  # what it is asked
        self._deadline = 0.0
        self._owes = False  # the interpreter has yet to answer what it was asked, perhaps by a host before
        self._summary: dict[str, Any] = {}
        cells.aside = self._kernel_frame
        cells.kernel_gone = self._kernel_gone

    def open(self, stream: int, request: dict[str, Any]) -> bool:
        """Begin a `save` or a `restore`; false when the request is something else."""
        op = request.get("op")
        if op not in ("save", "restore"):
            return False
        if self._stream or self._cells.running is not None:
            self._link.send_json(Kind.END, stream, {"status": "busy", "error": "something runs"})
            return True
        self._stream, self._request, self._credit = stream, request, 0
        self._kernel_stage, self._summary = "", {}
        if op == "save":
            self._source = self._save()
        else:
            self._unpacker = Unpacker(self._files, self._empty())
        return True

    def reset(self) -> None:
        """Another host came, which knows nothing of what is under way."""
        if self._stream:
            self._finish("cut off")

    def frame(self, frame: Frame) -> bool:
        """Take a frame of the stream; false when it is another's."""
        if not self._stream or frame.stream != self._stream:
            return False
        if frame.kind is Kind.CREDIT:
            self._credit += int.from_bytes(frame.payload[:4], "big")
        elif frame.kind is Kind.INTERRUPT:
            self._finish("cut off")
        elif self._unpacker is not None:
            self._restore(self._unpacker, frame)
        return True

    def _save(self) -> Iterator[bytes]:
        """The stream of a save; empty pieces mean that there is something to wait for."""
        packer = Packer(self._files, int(self._request.get("files", 0)))
        yield from packer.chunks()
        self._summary = {
            "files": packer.files,
            "bytes": packer.bytes,
            "left": packer.left_out.names,
            "left_count": packer.left_out.count,
            "left_packages": packer.left_packages,
        }
        fd = self._empty()
        self._ask_kernel(Kind.SAVE)
        while self._kernel_stage not in ("", "answered"):
            yield b""
        size = min(os.fstat(fd).st_size, int(self._request.get("all", 0)))
        yield record({"k": "vars", "s": size})
        yield from read_exactly(fd, size)

    def _empty(self) -> int:
        fd = self._cells.keeper.state_fd
        os.ftruncate(fd, 0)
        return fd

    def _restore(self, unpacker: Unpacker, frame: Frame) -> None:
        try:
            if frame.kind is Kind.DATA:
                unpacker.feed(frame.payload)
            elif frame.kind is Kind.END:
                self._unpacker = None
                self._summary = {"files": unpacker.files, "left": unpacker.left_out.names}
                if unpacker.variable_bytes:
                    self._ask_kernel(Kind.LOAD)
                if self._kernel_stage in ("", "answered"):
                    self._finish()
        except Refused as error:
            self._finish(str(error))

    def _ask_kernel(self, kind: Kind) -> None:
        if self._cells.keeper.gave_up:
            self._kernel_stage = ""
            self._summary["variables"] = {"kept": [], "lost": [["all", "the interpreter is not running"]]}
            return
        self._kernel_stage, self._kind = "starting", kind
        self._deadline = time.monotonic() + float(self._request.get("start") or 20.0)
        self._ask_when_ready()

    def _ask_when_ready(self) -> None:
        """What an interpreter takes to start, or one after it, is not on the clock of the variables."""
        if self._kernel_stage == "starting" and self._cells.keeper.ready and not self._owes:
            limits = {name: self._request.get(name) for name in ("each", "all", "seconds", "cwd")}
            self._cells.keeper.ask(self._kind, self._stream, json.dumps(limits).encode())
            self._kernel_stage, self._owes = "asked", True
            self._deadline = time.monotonic() + float(self._request.get("seconds") or 5.0)

    def _kernel_frame(self, frame: Frame) -> None:
        if frame.kind is Kind.END:
            self._owes = False
        if frame.kind is Kind.END and frame.stream == self._stream and self._kernel_stage in ("asked", "interrupted"):
            self._answered(parse_json(frame.payload))

    def _kernel_gone(self) -> None:
        self._owes = False
        if self._kernel_stage in ("asked", "interrupted"):
            why = "a variable hung" if self._kernel_stage == "interrupted" else "a variable ended the interpreter"
            self._answered({"kept": [], "lost": [["some", why]]})
        elif self._kernel_stage == "starting" and self._cells.keeper.gave_up:
            self._did_not_start()

    def _did_not_start(self) -> None:
        self._answered({"kept": [], "lost": [["all", "the interpreter did not start"]]})

    def _answered(self, variables: dict[str, Any]) -> None:
        self._kernel_stage = "answered"
        self._summary["variables"] = variables
        if self._source is None:
            self._finish()

    def patience(self) -> float | None:
        """How long the loop may sleep for our sake."""
        if self._kernel_stage in WAITING:
            return max(0.0, self._deadline - time.monotonic())
        return None

    def tick(self) -> None:
        """Look at the clock: a variable that hangs is interrupted, an interpreter that heeds nothing is killed."""
        self._ask_when_ready()
        if self._kernel_stage not in WAITING or time.monotonic() < self._deadline:
            return
        if self._kernel_stage == "starting":
            self._did_not_start()
            self._cells.keeper.kill()
            return
        if self._kernel_stage == "asked":
            self._kernel_stage = "interrupted"
            self._deadline = time.monotonic() + GRACE
            self._cells.keeper.interrupt(self._stream)
            return
        self._deadline += GRACE
        self._cells.keeper.kill()

    def pump(self) -> None:
        """Send what may be sent."""
        while self._source is not None and self._credit > 0 and not self._link.is_full:
            try:
                data = next(self._source)
            except StopIteration:
                self._finish()
                return
            except OSError as error:
                self._finish(str(error))
                return
            if not data:
                return
            self._credit -= len(data)
            self._link.send_data(self._stream, data)

    def _finish(self, error: str | None = None) -> None:
        if self._kernel_stage in ("asked", "interrupted"):
            self._cells.keeper.interrupt(self._stream)
        self._kernel_stage = ""
        stream, self._stream = self._stream, 0
        self._source, self._unpacker = None, None
        self._files.changes()  # what came back is nothing that the next cell made
        end = {"status": "ok"} if error is None else {"status": "refused", "error": error}
        self._link.send_json(Kind.END, stream, {**self._summary, **end})
