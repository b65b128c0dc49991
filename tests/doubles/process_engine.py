"""An Engine whose containers are plain processes of this machine: the real supervisor and kernel, and no seal at all.

For tests of the library without Docker, with code that the test itself wrote.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from sandbox.contract import Container
from sandbox.errors import SandboxGone
from sandbox.limits import Limits
from tests.doubles.template import template

ROOT = Path(__file__).resolve().parents[2]
START = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from sandbox.inside.supervisor import main; main()"


class Supervisor:
    """A supervisor's process: `ended_fd` is readable once it has ended."""

    def __init__(self, pid: int, ended_fd: int, ours: subprocess.Popen[bytes] | None = None) -> None:
        self.pid = pid
        self._ended_fd = ended_fd
        self._ours = ours

    @property
    def lives(self) -> bool:
        return not select.select([self._ended_fd], [], [], 0)[0]

    def signal(self, number: signal.Signals) -> None:
        """To it, and to the processes that it has started."""
        for pid in [self.pid, *_children(self.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, number)

    async def end(self) -> None:
        self.signal(signal.SIGKILL)
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._ended_fd, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(self._ended_fd)
        os.close(self._ended_fd)
        if self._ours is not None:
            self._ours.wait()


Start = Callable[[dict[str, str], socket.socket], Supervisor]


def fork(environment: dict[str, str], stream: socket.socket) -> Supervisor:
    """A supervisor from the template; it forks its interpreters too."""
    return Supervisor(*template().fork(environment, stream))


def execute(environment: dict[str, str], stream: socket.socket) -> Supervisor:
    """A supervisor that is started as in a container, and starts its interpreters so too."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", START], cwd=environment["HOME"], env=environment, start_new_session=True,
        stdin=stream, stdout=stream,
    )  # fmt: skip
    return Supervisor(process.pid, os.pidfd_open(process.pid), process)


class PipeWire:
    """A process's standard input and output as a Wire; a pump copies to all that are attached, as Docker does."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._on_data: Callable[[bytes], None] | None = None
        self._on_end: Callable[[], None] | None = None
        self.closed = False

    def write(self, data: bytes) -> None:
        if not self.closed:
            self._writer.write(data)

    async def drain(self) -> None:
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()

    def receive(self, on_data: Callable[[bytes], None], on_end: Callable[[], None]) -> None:
        self._on_data, self._on_end = on_data, on_end

    def close(self) -> None:
        self.closed = True

    def data(self, data: bytes) -> None:
        if not self.closed and self._on_data is not None:
            self._on_data(data)

    def ended(self) -> None:
        if not self.closed and self._on_end is not None:
            self._on_end()


class ProcessEngine:
    """See the module; `start` makes a supervisor."""

    def __init__(self, start: Start = fork) -> None:
        if start is fork:
            template()  # now, and not in the middle of what a test takes the time of
        self._start = start
        self._supervisors: dict[str, Supervisor] = {}
        self._writers: dict[str, asyncio.StreamWriter] = {}
        self._wires: dict[str, list[PipeWire]] = defaultdict(list)
        self._pumps: list[asyncio.Task[None]] = []
        self._folders = tempfile.TemporaryDirectory(prefix="threadbox-test-")

    async def create(self, sandbox_id: str, limits: Limits) -> tuple[str, PipeWire]:
        folder = Path(self._folders.name) / sandbox_id
        folder.mkdir()
        ours, theirs = socket.socketpair()
        with theirs:
            self._supervisors[sandbox_id] = self._start({**os.environ, "HOME": str(folder)}, theirs)
        try:
            reader, self._writers[sandbox_id] = await asyncio.open_unix_connection(sock=ours)
        except BaseException:
            ours.close()
            await self.remove(sandbox_id)
            raise
        wire = await self.attach(sandbox_id)
        self._pumps.append(asyncio.ensure_future(self._pump(sandbox_id, reader)))
        return sandbox_id, wire

    async def _pump(self, container_id: str, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(ConnectionError):  # it ended before it had read all
            while data := await reader.read(1 << 16):
                self._wires[container_id] = [wire for wire in self._wires[container_id] if not wire.closed]
                for wire in self._wires[container_id]:
                    wire.data(data)
        for wire in self._wires[container_id]:
            wire.ended()
        self._writers[container_id].close()

    async def attach(self, container_id: str) -> PipeWire:
        self._living(container_id)
        wire = PipeWire(self._writers[container_id])
        self._wires[container_id].append(wire)
        return wire

    async def remove(self, container_id: str) -> None:
        supervisor = self._supervisors.pop(container_id, None)
        if supervisor is not None:
            await supervisor.end()

    async def pause(self, container_id: str) -> None:
        self._living(container_id).signal(signal.SIGSTOP)

    async def unpause(self, container_id: str) -> None:
        self._living(container_id).signal(signal.SIGCONT)

    def _living(self, container_id: str) -> Supervisor:
        if container_id not in self._supervisors:
            raise SandboxGone
        return self._supervisors[container_id]

    async def containers(self) -> list[Container]:
        return [
            Container(container_id=name, sandbox_id=name, state="running" if supervisor.lives else "exited")
            for name, supervisor in self._supervisors.items()
        ]

    async def aclose(self) -> None:
        for container_id in list(self._supervisors):
            await self.remove(container_id)
        await asyncio.gather(*self._pumps)
        self._folders.cleanup()


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
