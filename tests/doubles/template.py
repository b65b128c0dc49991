"""A process that has imported the supervisor and the kernel, and forks ready ones: a start takes 0.05 s, not 0.5 s.

What is forked runs the same `main` as what is exec'ed, in a folder and on a stream of its own. Nothing else differs;
the contract of a sandbox is tried on both.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

ROOT = str(Path(__file__).resolve().parents[2])
SERVE = f"import sys; sys.path.insert(0, {ROOT!r}); from tests.doubles.template import serve; serve({{fd}})"
PR_SET_DUMPABLE = 4
TWIN = b"twin"
MOST_BYTES = 1 << 17  # of a request: the environment is most of it


class Template:
    """The process, from this process's side. It ends with this one."""

    def __init__(self, first: Template | None = None) -> None:
        """A twin of `first`, where there is one: forked from it, for a process that was forked from its owner."""
        # packets: a request and its answer each are one
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process: subprocess.Popen[bytes] | None = None
        with theirs:
            if first is not None:
                socket.send_fds(first._control, [TWIN], [theirs.fileno()])
                first._control.close()
            else:
                command = [sys.executable, "-I", "-c", SERVE.format(fd=theirs.fileno())]
                self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], start_new_session=True)
        self._has_imported = False  # what it needs; nobody waits for that before there is something to fork

    def fork(self, environment: dict[str, str], stream: socket.socket) -> tuple[int, int]:
        """A supervisor on `stream`, in its HOME: its process id, and a descriptor that is readable once it has ended."""
        if not self._has_imported:
            self._has_imported = bool(self._control.recv(1))
        socket.send_fds(self._control, [json.dumps(environment).encode()], [stream.fileno()])
        pid, fds, _, _ = socket.recv_fds(self._control, 100, 1)
        return int(pid), fds[0]

    def close(self) -> None:
        self._control.close()
        if self._process is not None:
            self._process.wait()


_made: dict[int, Template] = {}


def template() -> Template:
    """One for all engines of this process: it holds nothing of theirs. A fork's is forked too."""
    pid = os.getpid()
    if pid not in _made:
        _made[pid] = Template(_made.get(os.getppid()))
        atexit.register(_made[pid].close)
    return _made[pid]


def serve(fd: int) -> None:
    """The template's own loop: fork at each request."""
    import cloudpickle  # noqa: F401 - what saved variables need

    import sandbox.inside.kernel
    import sandbox.inside.supervisor
    import sandbox.inside.variables  # noqa: F401

    for name in _of_a_first_cell():
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.freeze()  # no collection in a child may copy these pages
    control = socket.socket(fileno=fd)
    control.send(b"!")
    while True:
        request, fds, _, _ = socket.recv_fds(control, MOST_BYTES, 1)
        if not request:
            return
        _reap()
        if request == TWIN:
            if not os.fork():
                control.close()
                control = socket.socket(fileno=fds[0])
                control.send(b"!")
            else:
                os.close(fds[0])
            continue
        pid = _fork_session()
        if not pid:
            control.close()
            _supervise(json.loads(request), fds[0])
        ended = os.pidfd_open(pid)
        socket.send_fds(control, [str(pid).encode()], [ended])
        os.close(ended)
        os.close(fds[0])


def _of_a_first_cell() -> list[str]:
    """The modules that are imported only when a shell is made and runs something, found out in a child."""
    from sandbox.inside.kernel import make_shell

    reader, writer = os.pipe()
    if not os.fork():
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        make_shell(SimpleNamespace()).run_cell("1 / 0", store_history=False)
        os.write(writer, json.dumps([*sys.modules]).encode())
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as names:
        return sorted(set(json.load(names)) - {*sys.modules})


def _fork_session() -> int:
    """A fork that leads a session by the time this returns, so that it can be signalled as a group."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.setsid()
    os.close(writer)
    os.read(reader, 1)  # until the child, too, has closed the other end
    os.close(reader)
    return pid


def _reap() -> None:
    """Only here: an id is nobody else's until it was told."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def _supervise(environment: dict[str, str], stream: int) -> NoReturn:
    """What an exec of the supervisor does."""
    from sandbox.inside import process, supervisor

    try:
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(environment["HOME"])
        os.dup2(stream, 0)
        os.dup2(stream, 1)
        os.close(stream)
        process.subprocess = SimpleNamespace(Popen=_start, DEVNULL=subprocess.DEVNULL)  # type: ignore[assignment]
        supervisor.main()
    finally:
        os._exit(0)


def _start(command: list[str], **options: Any) -> Any:
    """Popen for a supervisor: its interpreter is forked, all else is exec'ed."""
    if command[0] != sys.executable:
        return subprocess.Popen(command, **options)
    pid = _fork_session()
    if not pid:
        _interpret(command[-1], options["cwd"], options["pass_fds"])
    return SimpleNamespace(pid=pid, returncode=None)


def _interpret(text: str, folder: str, fds: tuple[int, ...]) -> NoReturn:
    """What an exec of the interpreter does; `text` is what it would have been given with -c.

    It never returns, so that the supervisor's own objects, whose descriptors are closed here, are never collected.
    """
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
        os.chdir(folder)
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        lowest = 3
        for fd in sorted(fds):
            os.closerange(lowest, fd)
            os.set_inheritable(fd, True)
            lowest = fd + 1
        os.closerange(lowest, os.sysconf("SC_OPEN_MAX"))
        sys.path.remove(ROOT)
        exec(text, {"__name__": "__main__"})
    finally:
        os._exit(0)
