"""The processes a supervisor starts and ends: the kernel, shell commands, and whatever they leave behind."""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import signal
import socket
import struct
import subprocess
import sys
from collections import deque
from pathlib import Path

from .frames import Decoder, Frame, Kind, chunks, encode
from .output import READ_BYTES, Output

_ROOT = str(Path(__file__).resolve().parents[len(__package__.split("."))])
_START = (
    "import sys; sys.path.insert(0, {root!r}); from {package}.kernel import main; "
    "sys.path.remove({root!r}); main({control}, {interrupt}, {state})"
)
MAX_QUEUED = 64  # pieces for a kernel that does not read
_OOM_FIRST = "1000"  # the kernel dies before the supervisor does


class Kernel:
    """The kernel process: exec'ed, never only forked, so that it shares no memory with the supervisor.

    `state_fd` is for variables on their way out or in: the kernel may write there what it likes, we only read bytes.
    Raises OSError when no process can be had.
    """

    def __init__(self, workspace: str, state_fd: int) -> None:
        ours, theirs = socket.socketpair()
        interrupt_fd = os.memfd_create("interrupt", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(interrupt_fd, 8)
        # the kernel has it too: cut short under our mapping it would end us with SIGBUS
        fcntl.fcntl(interrupt_fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        self._interrupt = mmap.mmap(interrupt_fd, 8)
        fds = {"control": theirs.fileno(), "interrupt": interrupt_fd, "state": state_fd}
        start = _START.format(root=_ROOT, package=__package__, **fds)
        try:
            _enterable(workspace)
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and text
                [sys.executable, "-P", "-c", start],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # each cell brings its own
                stderr=subprocess.DEVNULL,
                pass_fds=tuple(fds.values()),
                cwd=workspace,
                start_new_session=True,
            )
        except OSError:
            ours.close()
            self._interrupt.close()
            raise
        finally:
            theirs.close()
            os.close(interrupt_fd)
        self.pid = self._process.pid
        self.ready = False
        self._decoder = Decoder()
        self._socket = ours
        self._sending: deque[tuple[memoryview, list[int]]] = deque()
        ours.setblocking(False)
        die_first(self.pid)

    def fileno(self) -> int:
        """The control socket, for a selector."""
        return self._socket.fileno()

    @property
    def wants_write(self) -> bool:
        """Whether code waits for the socket to take it."""
        return len(self._sending) > 0

    def run(self, stream: int, code: bytes, fds: list[int]) -> None:
        """Give the kernel a cell, and where it prints; the descriptors are ours from now on."""
        frames = [encode(Kind.DATA, stream, chunk) for chunk in chunks(code)]
        self._sending.append((memoryview(b"".join([*frames, encode(Kind.END, stream)])), fds))
        self.flush()

    def ask(self, kind: Kind, stream: int, payload: bytes) -> None:
        """Give the kernel a request that is no cell."""
        self._send(encode(kind, stream, payload))

    def acknowledge(self, stream: int) -> None:
        """Tell the kernel that a display has arrived; not one that asks without ever reading."""
        if len(self._sending) < MAX_QUEUED:
            self._send(encode(Kind.ACK, stream))

    def _send(self, data: bytes) -> None:
        self._sending.append((memoryview(data), []))
        self.flush()

    def flush(self) -> None:
        """Send what the socket takes."""
        try:
            while self._sending:
                data, fds = self._sending[0]
                count = socket.send_fds(self._socket, [data], fds) if fds else self._socket.send(data)
                for fd in fds:
                    os.close(fd)
                if count == len(data):
                    self._sending.popleft()
                else:
                    self._sending[0] = (data[count:], [])
        except BlockingIOError:
            return
        except OSError:
            self._forget()

    def _forget(self) -> None:
        for _, fds in self._sending:
            for fd in fds:
                os.close(fd)
        self._sending.clear()

    def frames(self) -> list[Frame]:
        """What the kernel has sent. One that closed its end is of no use any more and is killed."""
        try:
            data = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            kill_group(self.pid, signal.SIGKILL)
        return self._decoder.feed(data)

    def interrupt(self, stream: int) -> None:
        """SIGINT for the cell `stream` and the processes it waits for; the kernel ignores it in any other cell."""
        self._interrupt[:8] = struct.pack(">Q", stream)
        kill_group(self.pid, signal.SIGINT)

    def close(self, returncode: int) -> None:
        """Release what belonged to a kernel that was reaped."""
        self._process.returncode = returncode  # reaped by waitpid(-1): Popen must not wait for it
        self._forget()
        self._socket.close()
        self._interrupt.close()


def start_shell(code: str, output: Output, workspace: str) -> subprocess.Popen[bytes]:
    """A bash of its own session that runs `code` in the workspace."""
    _enterable(workspace)
    process = subprocess.Popen(  # noqa: S603 - running what the user sent is the purpose
        ["bash", "-c", code],  # noqa: S607 - the container's PATH is ours
        stdin=subprocess.DEVNULL,
        stdout=output.stdout_in,
        stderr=output.stderr_in,
        cwd=workspace,
        start_new_session=True,
    )
    die_first(process.pid)
    return process


def _enterable(workspace: str) -> None:
    """The workspace as it was made: code may have taken its own right to enter it."""
    os.chmod(workspace, 0o700)


def die_first(pid: int) -> None:
    """Make the out-of-memory killer choose this process and its children before the supervisor."""
    try:
        Path(f"/proc/{pid}/oom_score_adj").write_text(_OOM_FIRST)
    except OSError:
        return  # it has ended already


def kill_group(pid: int, number: int) -> None:
    """Signal a session's first group, if it still exists."""
    try:
        os.killpg(pid, number)
    except OSError:
        return


def kill_others(keep: set[int], known: set[int]) -> None:
    """End every process of the container but the supervisor and `keep`.

    Outside a container (the supervisor is not PID 1: a test without Docker) only the `known` groups are ended.
    """
    if os.getpid() != 1:
        for pid in known - keep:
            kill_group(pid, signal.SIGKILL)
        return
    if not keep:
        try:
            os.kill(-1, signal.SIGKILL)  # from PID 1 this is atomic: everyone else in the namespace
        except ProcessLookupError:
            return
        return
    try:
        os.kill(-1, signal.SIGSTOP)  # nobody forks while we look
    except ProcessLookupError:
        return
    for pid in {int(name) for name in os.listdir("/proc") if name.isdigit()} - {1}:
        _signal(pid, signal.SIGCONT if pid in keep else signal.SIGKILL)


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except OSError:
        return  # it has ended


def parse_json(payload: bytes) -> dict[str, object]:
    """JSON of a process we do not trust; an empty mapping when it is anything else."""
    try:
        value = json.loads(payload)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
