"""The kernel's socket to the supervisor: requests in, displays and outcomes out. Nothing in this process is trusted."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any

from .frames import Decoder, Frame, Kind, chunks, encode
from .threads import CellThreads

MAX_DISPLAY_BYTES = 8 * 1024 * 1024  # one mime body
MAX_DISPLAYS = 30  # of one cell
RICH = (
    "image/png", "image/jpeg", "image/svg+xml", "text/html", "text/markdown", "application/json", "text/plain",
)  # fmt: skip


class Control:
    """The socket to the supervisor."""

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        self._decoder = Decoder()
        self.writing = threading.RLock()  # a cell's threads display too: frames must not be mixed
        self._fds: list[int] = []
        self._reserved: list[int] = []  # kept back from cells, so that the next one's pipes can be received
        self.stream = 0
        self.displays = 0
        self.threads = CellThreads(lambda: self.stream)

    def requests(self) -> Iterator[tuple[Kind, int, str]]:
        """Kind (END: a cell), stream and text of each request, as they come; ends with the supervisor."""
        body: list[bytes] = []
        for frame in self._frames():
            if frame.kind is Kind.DATA:
                body.append(frame.payload)
            elif frame.kind is Kind.END:
                yield Kind.END, frame.stream, b"".join(body).decode("utf-8", "replace")
                body = []
            elif frame.kind in (Kind.SAVE, Kind.LOAD):
                yield frame.kind, frame.stream, frame.payload.decode()

    def _frames(self) -> Iterator[Frame]:
        while True:
            data, fds, _, _ = socket.recv_fds(self._socket, 1 << 16, 2, socket.MSG_CMSG_CLOEXEC)
            self._fds += fds
            if not data:
                return
            yield from self._decoder.feed(data)

    def take_output(self) -> None:
        """Make the pipes that came with a cell its output, whatever an earlier one did to its own."""
        fds, self._fds = self._fds, []
        # first away from 1 and 2, which they are given when a cell has closed those
        moved = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3) if fd < 3 else fd for fd in fds]
        for fd in set(fds) - set(moved):
            os.close(fd)
        for target, fd in zip((1, 2), moved, strict=False):
            os.dup2(fd, target)
        self._reserved += moved
        if sys.stdout is None or sys.stdout.closed:
            sys.stdout = self.threads.text(1)
        if sys.stderr is None or sys.stderr.closed:
            sys.stderr = self.threads.text(2)

    def give_back(self) -> None:
        """Let go of a cell's pipes: where nobody else holds them, the supervisor sees their end with the cell's."""
        for fd in self._reserved:
            with contextlib.suppress(Exception):  # the cell closed what was not its own
                os.close(fd)
        self._reserved.clear()
        # no descriptor is left, or a hook of the cell's refuses: they stay until the next cell's take their place
        with contextlib.suppress(Exception):
            null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
            for target in (1, 2):
                os.dup2(null, target)
            if null > 2:
                os.close(null)

    def send(self, kind: Kind, value: dict[str, Any]) -> None:
        """One frame of JSON about the cell that runs."""
        with self.writing:
            self._socket.sendall(encode(kind, self.stream, json.dumps(value).encode()))

    def display(self, bundle: dict[str, Any]) -> None:
        """Rich output; bodies over the limit are left out."""
        bodies = [(mime, _as_bytes(mime, bundle[mime])) for mime in RICH if bundle.get(mime)]
        bodies = [(mime, body) for mime, body in bodies if len(body) <= MAX_DISPLAY_BYTES]
        self.displays += 1
        if not bodies or self.displays > MAX_DISPLAYS or not self.stream or self.threads.is_late():
            return  # there is nobody to show it to: a thread that a cell left behind
        with self.writing:
            self.send(Kind.DISPLAY, {"mimes": [[mime, len(body)] for mime, body in bodies]})
            for _, body in bodies:
                for chunk in chunks(body):
                    self._socket.sendall(encode(Kind.DATA, self.stream, chunk))
        if threading.current_thread() is threading.main_thread():
            self.send(Kind.NOTE, {"displayed": self.displays})
            # until the supervisor has it: what is printed next goes another way and must not come first
            next((frame for frame in self._frames() if frame.kind is Kind.ACK), None)


def _as_bytes(mime: str, value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if mime in ("image/png", "image/jpeg"):
        import base64

        return base64.b64decode(value)
    if mime == "application/json" and not isinstance(value, str):
        try:
            value = json.dumps(value, default=str)
        except (TypeError, ValueError, RecursionError):
            value = str(value)
    return str(value).encode("utf-8", "replace")
