"""One sandbox: code in, events out, files both ways."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from sandbox.attachment import Attachment
from sandbox.cell import Cell, Request
from sandbox.channel import Stream, end_of
from sandbox.contract import Engine, Outcome, RunEvent
from sandbox.egress import Network
from sandbox.errors import FileRefused, SandboxBusy, SandboxError, SandboxGone
from sandbox.inside.frames import Frame, Kind
from sandbox.languages import canonical_language
from sandbox.limits import ATTACH_SECONDS, START_SECONDS, Limits

if TYPE_CHECKING:
    from sandbox.tunnels import EgressGate

T = TypeVar("T")
DOWNLOAD_WINDOW = 512 * 1024  # bytes of a download on their way


class Sandbox:
    """A live container with a stream to it. One run at a time; transfers may go on beside it."""

    def __init__(self, attachment: Attachment, limits: Limits) -> None:
        self.container_id = attachment.container_id
        self.limits = limits
        self.is_paused = self.is_surely_paused = False
        self.leave_running = False
        """Set when this host goes and another will come: a run whose reader leaves then goes on."""
        self._attachment = attachment
        self._cell: Cell | None = None

    @classmethod
    async def start(cls, engine: Engine, sandbox_id: str, limits: Limits) -> Sandbox:
        """Create a container and greet it. Leaves nothing behind when it raises or is cancelled."""
        sandbox = cls(await Attachment.create(engine, sandbox_id, limits), limits)
        try:
            await sandbox._attachment.greet(START_SECONDS, again=False)
        except BaseException:
            await sandbox.remove()
            raise
        return sandbox

    @classmethod
    async def attach(cls, engine: Engine, container_id: str, limits: Limits, *, epoch: int, nonce: str) -> Sandbox:
        """Take over a sandbox that another host started; `epoch` is above every earlier one's.

        The one before is cut off. While it still writes, the two spoil each other's frames: whoever holds the lease
        attaches. Raises SandboxError; the container stays.
        """
        sandbox = cls(await Attachment.take_over(engine, container_id, epoch=epoch, nonce=nonce), limits)
        try:
            await sandbox._attachment.greet(ATTACH_SECONDS, again=True)
        except BaseException:
            sandbox.detach()
            raise
        return sandbox

    @property
    def boot(self) -> str:
        """What differs between any two boots of any sandbox; empty before the first welcome."""
        return self._attachment.welcome.boot if self._attachment.welcome is not None else ""

    @property
    def epoch(self) -> int:
        """The number of this host; the next one's is higher."""
        return self._attachment.epoch

    @property
    def nonce(self) -> str:
        """What a later host shows to be accepted."""
        return self._attachment.channel.nonce

    @property
    def memory_bytes(self) -> int:
        """In use now, files in the workspace included: what the supervisor last told; 0 before it did."""
        return self._attachment.channel.memory_bytes

    @memory_bytes.setter
    def memory_bytes(self, count: int) -> None:
        self._attachment.channel.memory_bytes = count

    @property
    def is_alive(self) -> bool:
        """Whether the stream to the container stands."""
        return self._attachment.is_alive

    @property
    def is_anothers(self) -> bool:
        """Whether another host has taken the container over."""
        return self._attachment.is_anothers

    @property
    def is_running(self) -> bool:
        """Whether a run is under way."""
        return self._cell is not None

    async def revive(self) -> None:
        """Make the stream anew, if it was cut.

        Raises SandboxGone when the container has ended, EngineUnavailable or SandboxSilent when nobody knows yet.
        """
        await self.unpause()
        await self._attachment.again()

    def run(
        self, code: str, language: str = "python", *, timeout_seconds: float | None = None, request_id: str = ""
    ) -> AsyncGenerator[RunEvent, None]:
        """See contract.Runner. When the container ends under a run, its Outcome is `lost` or the reason we know."""
        kind = canonical_language(language)
        body = code.encode("utf-8", "replace")
        if len(body) > self.limits.code_bytes:
            raise SandboxError(f"The code has {len(body):,} bytes; a cell may have {self.limits.code_bytes:,}.")
        request = Request(
            request_id=request_id or os.urandom(8).hex(),
            language=kind,
            body=body,
            timeout_seconds=timeout_seconds or self.limits.timeout_seconds,
            boot=self.boot,
        )
        return self._events(Cell(self._attachment, self.limits, request.request_id, request))

    def resume(self, request_id: str) -> AsyncGenerator[RunEvent, None]:
        """Go on reading a run that an earlier host started, ending like `run`; nothing is run again.

        Raises LookupError when the sandbox knows no such run: it was never begun, or is too long ago.
        """
        return self._events(Cell(self._attachment, self.limits, request_id))

    async def _events(self, cell: Cell) -> AsyncGenerator[RunEvent, None]:
        if self._cell is not None:
            raise SandboxBusy
        self._cell = cell
        try:
            async with contextlib.aclosing(cell.events()) as events:
                async for event in events:
                    if isinstance(event, Outcome):
                        self.memory_bytes = event.memory_bytes or self.memory_bytes
                    yield event
        finally:
            self._cell = None
            if not cell.has_ended and not self.leave_running:
                await asyncio.shield(cell.abandon())

    def interrupt(self) -> None:
        """Stop the run under way, if there is one: within 2 s it ends with status `interrupted`."""
        if self._cell is not None:
            self._cell.interrupt()

    async def put_file(self, path: str, data: bytes) -> None:
        """Write a file below the workspace, folders included. Raises FileRefused, SandboxGone."""

        async def upload() -> None:
            stream = self.open({"op": "put", "path": path})
            await stream.send(data)
            stream.finish()
            async for frame in stream.frames():
                _check_end(frame)

        await self._twice(upload)

    async def get_file(self, path: str, *, limit_bytes: int) -> bytes:
        """Read a regular file of the workspace. Raises FileRefused (no such file, a link, over the limit)."""
        return await self._download({"op": "get", "path": path, "limit": limit_bytes}, limit_bytes)

    async def whole_output(self, request_id: str) -> bytes:
        """Everything a recent run printed, when that was more than was streamed. Raises FileRefused."""
        return await self._download({"op": "output", "id": request_id}, self.limits.output_whole_bytes * 2)

    async def _download(self, request: dict[str, object], limit_bytes: int) -> bytes:
        async def download() -> bytes:
            stream = self.open(request)
            stream.credit(DOWNLOAD_WINDOW)
            parts: list[bytes] = []
            count = 0
            async for frame in stream.frames():
                _check_end(frame)
                if frame.kind is Kind.DATA:
                    parts.append(frame.payload)
                    count += len(frame.payload)
                    if count > limit_bytes:
                        raise FileRefused(f"The file is over the limit of {limit_bytes:,} bytes.")
                    stream.credit(len(frame.payload))
            return b"".join(parts)

        return await self._twice(download)

    async def _twice(self, work: Callable[[], Awaitable[T]]) -> T:
        """What may be done again is, once, when the stream was cut meanwhile."""
        try:
            return await work()
        except SandboxGone:
            await self.revive()
            return await work()

    async def ping(self) -> None:
        """Return once the supervisor has answered. Raises SandboxGone."""
        await self._attachment.channel.ping()

    async def pause(self) -> None:
        """Freeze every process; `unpause` before anything else. Raises SandboxError: it may be frozen or not."""
        self.is_paused, self.is_surely_paused = True, False
        await self._attachment.engine.pause(self.container_id)
        self.is_surely_paused = True

    async def unpause(self) -> None:
        """Let a paused sandbox go on. Raises SandboxError."""
        if self.is_paused:
            await self._attachment.engine.unpause(self.container_id)
            self.is_paused = self.is_surely_paused = False

    def open(self, request: dict[str, object]) -> Stream:
        """A stream for a request that is no run. Raises SandboxGone."""
        return self._attachment.channel.open(request)

    async def connect(self, gate: EgressGate, network: Network, key: str) -> None:
        """Let the sandbox reach what `network` allows, and nothing when that is off. Raises SandboxGone."""

        def tunnels() -> None:
            channel = self._attachment.channel
            if channel.on_end is not None:
                channel.on_end()  # what the network of before has opened
            made = gate.tunnels(channel, network, key)
            channel.on_tunnel, channel.on_end = made.frame, made.end

        async def claim() -> None:
            async for frame in self.open({"op": "claim", "network": network.mode != "off"}).frames():
                end_of(frame)

        tunnels()
        self._attachment.on_again = tunnels
        await self._twice(claim)

    def detach(self) -> None:
        """Leave the container to a later host."""
        self._attachment.detach()

    async def remove(self) -> None:
        """End the sandbox and remove its container; again is no error."""
        await self._attachment.remove()


def _check_end(frame: Frame) -> None:
    end = end_of(frame)
    if end and end.get("status") != "ok":
        raise FileRefused(str(end.get("error"))[:500])
