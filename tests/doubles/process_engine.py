"""An Engine whose containers are plain processes of this machine: the real supervisor and kernel, and no seal at all.

For tests of the library without Docker, with code that the test itself wrote.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from sandbox.contract import Container
from sandbox.errors import SandboxGone
from sandbox.limits import Limits

ROOT = Path(__file__).resolve().parents[2]
START = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from sandbox.inside.supervisor import main; main()"


class PipeWire:
    """Standard input and output of a process as a Wire; a pump copies, so that a second wire can follow."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._on_data: Callable[[bytes], None] | None = None
        self._on_end: Callable[[], None] | None = None
        self.closed = False

    def write(self, data: bytes) -> None:
        if not self.closed and self._process.stdin is not None:
            self._process.stdin.write(data)

    async def drain(self) -> None:
        if self._process.stdin is not None:
            with contextlib.suppress(ConnectionError):
                await self._process.stdin.drain()

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
    """See the module; `last` is the newest process."""

    def __init__(self) -> None:
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._wires: dict[str, PipeWire] = {}
        self._pumps: list[asyncio.Task[None]] = []
        self._folders = tempfile.TemporaryDirectory(prefix="threadbox-test-")

    async def create(self, sandbox_id: str, limits: Limits) -> tuple[str, PipeWire]:
        folder = Path(self._folders.name) / sandbox_id
        folder.mkdir()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-c", START, cwd=folder, start_new_session=True,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "HOME": str(folder)},
        )  # fmt: skip
        self._processes[sandbox_id] = process
        wire = await self.attach(sandbox_id)
        self._pumps.append(asyncio.ensure_future(self._pump(sandbox_id, process)))
        return sandbox_id, wire

    async def _pump(self, container_id: str, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while data := await process.stdout.read(1 << 16):
            self._wires[container_id].data(data)
        self._wires[container_id].ended()

    async def attach(self, container_id: str) -> PipeWire:
        if container_id not in self._processes:
            raise SandboxGone
        wire = self._wires[container_id] = PipeWire(self._processes[container_id])
        return wire

    async def remove(self, container_id: str) -> None:
        process = self._processes.pop(container_id, None)
        if process is None:
            return
        for pid in [process.pid, *_children(process.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        await process.wait()

    async def pause(self, container_id: str) -> None:
        self._signal(container_id, signal.SIGSTOP)

    async def unpause(self, container_id: str) -> None:
        self._signal(container_id, signal.SIGCONT)

    def _signal(self, container_id: str, number: signal.Signals) -> None:
        process = self._processes.get(container_id)
        if process is None:
            raise SandboxGone
        for pid in [process.pid, *_children(process.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, number)

    async def containers(self) -> list[Container]:
        return [
            Container(container_id=name, sandbox_id=name, state="running" if process.returncode is None else "exited")
            for name, process in self._processes.items()
        ]

    async def aclose(self) -> None:
        for container_id in list(self._processes):
            await self.remove(container_id)
        await asyncio.gather(*self._pumps)
        self._folders.cleanup()


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
