"""`python -m bot`, forked from a process that has imported what it imports: it is ready after half a second, not two.

What is forked runs the same module as what is exec'ed, with arguments, environment, folder and streams of its own, and
ends as an interpreter ends. tests/e2e/test_installed.py has what is exec'ed.
"""

from __future__ import annotations

import atexit
import fcntl
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, NoReturn

ROOT = str(Path(__file__).resolve().parents[2])
SERVE = f"import sys; sys.path.insert(0, {ROOT!r}); from tests.doubles.command import serve; serve({{fd}})"
IMPORTED = (
    "bot.cli", "bot.app", "bot.durable", "bot.doctor", "bot.gateway", "bot.images", "bot.sandboxes", "bot.agent.autogen",
    "adapters.discord.server", "adapters.slack.server", "adapters.web.server", "alembic.command", "rich.traceback", "aiosqlite",
)  # fmt: skip
"""Not bot.__main__: it is run, and finds out then whether it is on a terminal."""
MOST_BYTES = 1 << 17  # of a request: the environment is most of it
PID_BYTES = 20  # padded, since a short command's exit code may stand right behind it


class Command:
    """A running one, with the part of `subprocess.Popen` that tests use."""

    def __init__(self, told: int) -> None:
        self._told = told  # its process id and then its exit code come here
        self.returncode: int | None = None
        self.pid = int(os.read(told, PID_BYTES))

    def poll(self) -> int | None:
        """The exit code; None while it runs."""
        if self.returncode is None and select.select([self._told], [], [], 0)[0]:
            self.returncode = int(os.read(self._told, PID_BYTES))
            os.close(self._told)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code; raises TimeoutExpired after that many seconds."""
        if self.returncode is None:
            select.select([self._told], [], [], timeout)
        if (code := self.poll()) is None:
            raise subprocess.TimeoutExpired("threadbox", timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it has ended, and that will be told
                os.kill(self.pid, number)


def start(
    arguments: Sequence[str],
    environment: dict[str, str],
    folder: Path,
    streams: Sequence[int],
    *,
    terminal: bool = False,
) -> Command:
    """`python -m bot` with these; `streams` are for its standard input, output and error.

    With `terminal`, it leads a session whose terminal is its standard input.
    """
    asked = {"arguments": arguments, "environment": environment, "folder": str(folder), "terminal": terminal}
    told, teller = os.pipe()
    socket.send_fds(_server(), [json.dumps(asked).encode()], [*streams, teller])
    os.close(teller)
    return Command(told)


def run(
    arguments: Sequence[str], environment: dict[str, str], folder: Path, typed: str = "", timeout: float = 90
) -> subprocess.CompletedProcess[str]:
    """Start and wait for the end."""
    with ExitStack() as stack:
        files = [stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8")) for _ in range(3)]
        files[0].write(typed)
        files[0].seek(0)
        command = start(arguments, environment, folder, [file.fileno() for file in files])
        try:
            code = command.wait(timeout)
        finally:
            end(command)
        for file in files[1:]:
            file.seek(0)
        return subprocess.CompletedProcess([*arguments], code, files[1].read(), files[2].read())


def installed(
    arguments: Sequence[str], environment: dict[str, str], folder: Path, streams: Sequence[int]
) -> subprocess.Popen[bytes]:
    """The command that pip installed beside this interpreter, exec'ed."""
    stdin, stdout, stderr = streams
    program = str(Path(sys.executable).with_name("threadbox"))
    return subprocess.Popen(
        [program, *arguments], env=environment, cwd=folder, stdin=stdin, stdout=stdout, stderr=stderr
    )


def end(process: Command | subprocess.Popen[bytes], timeout: float = 20) -> None:
    """As an operator does; after that many seconds, which is an error, by force."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        raise


@contextmanager
def printing(arguments: Sequence[str], environment: dict[str, str], folder: Path) -> Iterator[tuple[Command, IO[str]]]:
    """Start, and read what it prints while it runs; what it says on standard error is left out."""
    ours, theirs = os.pipe()
    with open(ours, encoding="utf-8") as printed, open(os.devnull, "r+b") as null:
        command = start(arguments, environment, folder, [null.fileno(), theirs, null.fileno()])
        os.close(theirs)
        try:
            yield command, printed
        finally:
            end(command)


@cache
def _server() -> socket.socket:
    """One for this process; it ends with it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        command = [sys.executable, "-c", SERVE.format(fd=theirs.fileno())]
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
    atexit.register(lambda: (ours.close(), process.wait()))
    assert ours.recv(1), "it could not import what a command imports"
    return ours


def serve(fd: int) -> None:
    """The server's own loop: fork at each request."""
    for name in IMPORTED:
        importlib.import_module(name)
    gc.freeze()  # no collection in a child may copy these pages
    control = socket.socket(fileno=fd)
    control.send(b"!")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the tests, which end what they began
    while True:
        request, fds, _, _ = socket.recv_fds(control, MOST_BYTES, 4)
        if not request:
            return
        if not os.fork():
            control.close()
            _keep(json.loads(request), *fds)
        for each in fds:
            os.close(each)


def _keep(asked: dict[str, object], *fds: int) -> NoReturn:
    """Tell its id and how it ended, which only a parent learns."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    teller = fds[-1]
    pid = os.fork()
    if not pid:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _become(asked, fds[:3])
    for fd in fds[:3]:
        os.close(fd)
    os.write(teller, b"%*d" % (PID_BYTES, pid))
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.write(teller, b"%d" % code)
    os._exit(0)


def _become(asked: dict[str, object], streams: tuple[int, ...]) -> NoReturn:
    """What an exec of `python -m bot` does; how it ends is for the interpreter, which this frame belongs to, to see to."""
    for number, fd in enumerate(streams):
        os.dup2(fd, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    if asked["terminal"]:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    # those of the server have found out what they write to
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(asked["environment"])  # type: ignore[call-overload]
    os.chdir(str(asked["folder"]))
    sys.argv = ["threadbox", *asked["arguments"]]  # type: ignore[misc]
    runpy.run_module("bot", run_name="__main__", alter_sys=True)
    sys.exit()
