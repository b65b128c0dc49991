"""PID 1 of a sandbox: carries frames between the host and the kernel, and ends what must end.

It cannot be killed, stopped or read by the user's code although both have the same uid: PID 1 takes no signal
it has no handler for, and PR_SET_DUMPABLE 0 gives its /proc entries to root. It is for speed and manners; the
host keeps clocks and counts of its own.
"""

from __future__ import annotations

import ctypes
import os
import platform
import selectors
import shutil
import signal
import sys
from typing import Any

from .cells import Cells
from .files import Workspace
from .frames import Frame, Kind
from .gauge import Gauge
from .link import HostGone, HostLink
from .process import parse_json
from .proxy import Proxy
from .state import State
from .transfer import Transfers

PR_SET_DUMPABLE = 4
FONT_CACHE = "/opt/threadbox/matplotlib"


class Supervisor:
    """The loop: the host's frames in, the sandbox's frames out."""

    def __init__(self, link: HostLink, workspace: str) -> None:
        self._link = link
        self._wakeup = _child_signals()  # before the first child
        self._selector = selectors.DefaultSelector()
        files = Workspace(workspace)
        self._transfers = Transfers(link, files)
        self._proxy = Proxy(link, self._selector)  # before the first child, which is told of it
        self._cells = Cells(link, files, self._transfers, self._selector)
        self._state = State(link, files, self._cells)
        self._gauge = Gauge(link)
        self._boot = os.urandom(8).hex()
        self._last_stream = 0

    def serve(self) -> None:
        """Run until the host closes the stream for good."""
        register = self._selector.register
        register(self._link.read_fd, selectors.EVENT_READ, self._read_host)
        register(self._wakeup, selectors.EVENT_READ, self._reap)
        writing = False
        while True:
            for key, _ in self._selector.select(self._patience()):
                key.data()
            self._cells.tick()
            self._state.tick()
            self._gauge.tick(self._cells.running is not None)
            self._transfers.pump()
            self._state.pump()
            self._proxy.pump()
            self._link.flush()
            if self._link.wants_write and not writing:
                register(self._link.write_fd, selectors.EVENT_WRITE, self._link.flush)
            elif writing and not self._link.wants_write:
                self._selector.unregister(self._link.write_fd)
            writing = self._link.wants_write

    def _read_host(self) -> None:
        for frame in self._link.read():
            if not self._proxy.frame(frame):
                self._last_stream = max(self._last_stream, frame.stream)
                self._frame(frame)

    def _frame(self, frame: Frame) -> None:
        if frame.kind is Kind.HELLO:
            for part in (self._proxy, self._state, self._cells, self._transfers, self._gauge):
                part.reset()
            self._welcome()
        elif frame.kind is Kind.PING:
            self._link.send_unnumbered(Kind.PONG)
        elif frame.kind is Kind.ACK:
            self._link.acknowledge(int.from_bytes(frame.payload, "big"))
        elif frame.kind is Kind.OPEN:
            self._open(frame.stream, parse_json(frame.payload))
        elif frame.kind is Kind.INTERRUPT and not self._state.frame(frame):
            self._cells.interrupt(frame.stream)
        elif not self._cells.body(frame) and not self._state.frame(frame):
            self._transfers.frame(frame)

    def _patience(self) -> float:
        parts = (self._cells, self._state, self._gauge)
        return min(wait for wait in (part.patience() for part in parts) if wait is not None)

    def _welcome(self) -> None:
        self._link.send_unnumbered(
            Kind.WELCOME,
            {
                "boot": self._boot,
                "last_stream": self._last_stream,
                "running": self._cells.running,
                "last_run": self._cells.last_run,
                "oldest": self._link.oldest,
                "python": platform.python_version(),
            },
        )

    def _open(self, stream: int, request: dict[str, Any]) -> None:
        op = request.get("op")
        if op == "run" and request.get("boot") != self._boot:
            self._link.send_json(Kind.END, stream, {"status": "other_boot"})
        elif op == "run":
            self._cells.open(stream, request)
        elif op == "claim":
            self._proxy.allow(request.get("network") is True)
            self._link.send_json(Kind.END, stream, {"status": "ok"})
        elif op == "outcome":
            self._link.send_json(Kind.END, stream, self._cells.outcome(str(request.get("id"))))
        elif not self._state.open(stream, request):
            self._transfers.open(stream, request)

    def _reap(self) -> None:
        try:
            os.read(self._wakeup, 4096)
        except BlockingIOError:
            pass
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._cells.died(pid, os.waitstatus_to_exitcode(status))


def _nothing(number: int, frame: object) -> None:
    """A handler, since SIG_IGN would be inherited by every process of the sandbox."""


def _child_signals() -> int:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, _nothing)
    signal.signal(signal.SIGINT, _nothing)  # ignored here, yet at its default again in what we exec
    return reader


def _prepare(workspace: str) -> None:
    """Make the folders that must be there before an interpreter starts, since a tmpfs starts empty.

    TMPDIR; the one pip installs into, which is on the path only if it was there at the start; and matplotlib's font
    cache where matplotlib may write.
    """
    folder = os.path.join(workspace, ".tmp")
    os.makedirs(folder, exist_ok=True)
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    os.makedirs(os.path.join(workspace, ".local", "lib", python, "site-packages"), exist_ok=True)
    if os.path.isdir(FONT_CACHE):
        shutil.copytree(FONT_CACHE, os.path.join(folder, "matplotlib"), dirs_exist_ok=True)


def main() -> None:
    """Take over standard input and output, then serve."""
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    read_fd, write_fd = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    workspace = os.getcwd()
    _prepare(workspace)
    try:
        Supervisor(HostLink(read_fd, write_fd), workspace).serve()
    except HostGone:
        return


if __name__ == "__main__":
    main()
