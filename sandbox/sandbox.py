"""One sandbox: code in, events out, files both ways, with the host's own clock over all of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TYPE_CHECKING

from sandbox.channel import Channel, Stream, Welcome, decode_json
from sandbox.contract import Cut, Engine, Json, Meter, Outcome, RunEvent
from sandbox.egress import Network
from sandbox.errors import FileRefused, SandboxBusy, SandboxError, SandboxGone, SandboxSilent
from sandbox.events import Displays, TextStreams, decode, is_start, lost, outcome
from sandbox.inside.frames import Frame, Kind
from sandbox.languages import canonical_language
from sandbox.limits import ATTACH_SECONDS, HOST_GRACE_SECONDS, START_SECONDS, Limits

if TYPE_CHECKING:
    from sandbox.tunnels import EgressGate

DOWNLOAD_WINDOW = 512 * 1024  # bytes of a download on their way


class Sandbox:
    """A live container with a channel to it. One run at a time; transfers may go on beside it."""

    def __init__(self, engine: Engine, container_id: str, channel: Channel, limits: Limits) -> None:
        self.container_id = container_id
        self.limits = limits
        self.boot = ""
        self.is_paused = self.is_surely_paused = False
        self.memory_bytes = 0
        """In use when the last run ended, files in the workspace included."""
        self.leave_running = False
        """Set when this host goes and another will come: a run whose reader leaves then goes on."""
        self._welcome: Welcome | None = None
        self._engine = engine
        self._channel = channel
        self._running: Stream | None = None

    @classmethod
    async def start(cls, engine: Engine, sandbox_id: str, limits: Limits) -> Sandbox:
        """Create a container and greet it. Leaves nothing behind when it raises or is cancelled."""
        container_id, wire = await engine.create(sandbox_id, limits)
        channel = Channel(wire, epoch=1, nonce=os.urandom(16).hex())
        sandbox = cls(engine, container_id, channel, limits)
        try:
            await sandbox._greet(START_SECONDS, again=False)
        except BaseException:
            await sandbox.remove()
            raise
        return sandbox

    @classmethod
    async def attach(cls, engine: Engine, container_id: str, limits: Limits, *, epoch: int, nonce: str) -> Sandbox:
        """Take over a sandbox that another host started; `epoch` is above every earlier one's.

        Two hosts at once would spoil each other's frames: whoever holds the lease attaches. Raises SandboxError; the
        container stays.
        """
        await engine.unpause(container_id)
        channel = Channel(await engine.attach(container_id), epoch=epoch, nonce=nonce)
        sandbox = cls(engine, container_id, channel, limits)
        try:
            await sandbox._greet(ATTACH_SECONDS, again=True)
        except BaseException:
            channel.close()
            raise
        return sandbox

    async def _greet(self, seconds: float, *, again: bool) -> None:
        try:
            async with asyncio.timeout(seconds):
                self._welcome = await self._channel.hello(again=again)
        except TimeoutError as error:
            raise SandboxSilent(f"The sandbox did not answer within {seconds:g} s.") from error
        self.boot = self._welcome.boot

    @property
    def epoch(self) -> int:
        """The number of this attachment; the next host's is higher."""
        return self._channel.epoch

    @property
    def nonce(self) -> str:
        """What a later host shows to be accepted."""
        return self._channel.nonce

    @property
    def is_alive(self) -> bool:
        """Whether the stream to the container stands."""
        return not self._channel.gone.is_set()

    @property
    def is_running(self) -> bool:
        """Whether a run is under way."""
        return self._running is not None

    async def run(
        self, code: str, language: str = "python", *, timeout_seconds: float | None = None, request_id: str = ""
    ) -> AsyncGenerator[RunEvent, None]:
        """See contract.Runner. When the container ends under a run, its Outcome is `lost` or the reason we know."""
        kind = canonical_language(language)
        body = code.encode("utf-8", "replace")
        if len(body) > self.limits.code_bytes:
            raise SandboxError(f"The code has {len(body):,} bytes; a cell may have {self.limits.code_bytes:,}.")
        if self._running is not None:
            raise SandboxBusy
        timeout = timeout_seconds or self.limits.timeout_seconds
        stream = self._channel.open(self._request(kind, timeout, request_id or os.urandom(8).hex()))
        self._running = stream
        ended = False
        try:
            async for event in self._events(stream, body, timeout):
                ended = isinstance(event, Outcome)
                yield event
        finally:
            self._running = None
            if not ended and not self.leave_running:
                await asyncio.shield(self._abandon(stream))

    async def resume(self, request_id: str) -> AsyncGenerator[RunEvent, None]:
        """Go on reading a run that an earlier host started, ending like `run`; nothing is run again.

        Raises LookupError when the sandbox knows no such run: it was never begun, or is too long ago.
        """
        stream, welcome = self._channel.adopted, self._welcome
        if stream is None or welcome is None or not welcome.still_tells(request_id):
            end = await self._ask({"op": "outcome", "id": request_id})
            if end.get("status") == "unknown":
                raise LookupError(request_id)
            yield Cut(count=0)
            yield outcome(end)
            return
        self._running = stream
        ended = False
        try:
            if welcome.last_run is not None and welcome.last_run[2] < welcome.oldest:
                yield Cut(count=0)
            async for event in self._events(stream, None, self.limits.timeout_seconds):
                ended = isinstance(event, Outcome)
                yield event
        finally:
            self._running = None
            if not ended and not self.leave_running:
                await asyncio.shield(self._abandon(stream))

    async def _ask(self, request: Json) -> Json:
        async for frame in self._channel.open(request).frames():
            if frame.kind is Kind.END:
                return decode_json(frame.payload)
        raise SandboxGone

    def _request(self, kind: str, timeout: float, request_id: str) -> Json:
        limits = self.limits
        caps = {
            "head": limits.output_head_bytes,
            "tail": limits.output_tail_bytes,
            "whole": limits.output_whole_bytes,
            "display": limits.display_bytes,
        }
        return {
            "op": "run",
            "id": request_id,
            "boot": self.boot,
            "language": kind,
            "timeout": timeout,
            "grace": limits.interrupt_seconds,
            "start": limits.start_seconds,
            "caps": caps,
        }

    async def _events(self, stream: Stream, body: bytes | None, timeout: float) -> AsyncIterator[RunEvent]:
        text = TextStreams()
        display = Displays()
        try:
            seconds = timeout + self.limits.interrupt_seconds + HOST_GRACE_SECONDS
            async with asyncio.timeout(seconds) as clock:
                if body is not None:
                    await stream.send(body)
                    stream.finish()
                async for frame in stream.frames():
                    if is_start(frame):
                        clock.reschedule(asyncio.get_running_loop().time() + self.limits.start_seconds + seconds)
                    for event in decode(frame, text, display):
                        if isinstance(event, Outcome):
                            self.memory_bytes = event.memory_bytes
                        yield event
        except TimeoutError:
            await self._remove_if_possible()
            yield lost("timeout", 124, "The sandbox stopped answering and was removed.")
        except SandboxGone:
            yield await self._gone()

    async def _gone(self) -> Outcome:
        """Of a run whose container ended under it."""
        found = lost("lost", 1, "The sandbox ended while the code ran.")
        with contextlib.suppress(SandboxError):
            if isinstance(self._engine, Meter) and await self._engine.ran_out_of_memory(self.container_id):
                found = lost("oom", 137, "The sandbox ran out of memory.")
        await self._remove_if_possible()
        return found

    def interrupt(self) -> None:
        """Stop the run under way, if there is one: within 2 s it ends with status `interrupted`."""
        if self._running is not None:
            self._running.interrupt()

    async def _abandon(self, stream: Stream) -> None:
        """Interrupt a run whose reader left, and wait until the sandbox is free again, or remove it."""
        stream.interrupt()
        try:
            async with asyncio.timeout(2 * self.limits.interrupt_seconds + HOST_GRACE_SECONDS):
                async for _ in stream.frames():
                    pass
        except (TimeoutError, SandboxGone):
            await self._remove_if_possible()

    async def put_file(self, path: str, data: bytes) -> None:
        """Write a file below the workspace, folders included. Raises FileRefused, SandboxGone."""
        stream = self._channel.open({"op": "put", "path": path})
        await stream.send(data)
        stream.finish()
        async for frame in stream.frames():
            _check_end(frame)

    async def get_file(self, path: str, *, limit_bytes: int) -> bytes:
        """Read a regular file of the workspace. Raises FileRefused (no such file, a link, over the limit)."""
        return await self._download({"op": "get", "path": path, "limit": limit_bytes}, limit_bytes)

    async def whole_output(self, request_id: str) -> bytes:
        """Everything a recent run printed, when that was more than was streamed. Raises FileRefused."""
        return await self._download({"op": "output", "id": request_id}, self.limits.output_whole_bytes * 2)

    async def _download(self, request: Json, limit_bytes: int) -> bytes:
        stream = self._channel.open(request)
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

    async def ping(self) -> None:
        """Return once the supervisor has answered. Raises SandboxGone."""
        await self._channel.ping()

    async def pause(self) -> None:
        """Freeze every process; `unpause` before anything else. Raises SandboxError: it may be frozen or not."""
        self.is_paused, self.is_surely_paused = True, False
        await self._engine.pause(self.container_id)
        self.is_surely_paused = True

    async def unpause(self) -> None:
        """Let a paused sandbox go on. Raises SandboxError."""
        if self.is_paused:
            await self._engine.unpause(self.container_id)
            self.is_paused = self.is_surely_paused = False

    def open(self, request: Json) -> Stream:
        """A stream for a request that is no run and no file. Raises SandboxGone."""
        return self._channel.open(request)

    async def connect(self, gate: EgressGate, network: Network, key: str) -> None:
        """Let the sandbox reach what `network` allows, and nothing when that is off. Raises SandboxGone."""
        if self._channel.on_end is not None:
            self._channel.on_end()  # what the network of before has opened
        tunnels = gate.tunnels(self._channel, network, key)
        self._channel.on_tunnel, self._channel.on_end = tunnels.frame, tunnels.end
        await self._ask({"op": "claim", "network": network.mode != "off"})

    def detach(self) -> None:
        """Leave the container to a later host."""
        self._channel.close()

    async def _remove_if_possible(self) -> None:
        """The outcome is told although the engine refuses; whoever keeps the sandbox removes it later."""
        with contextlib.suppress(SandboxError):
            await self.remove()

    async def remove(self) -> None:
        """End the sandbox and remove its container; again is no error."""
        self._channel.close()
        await self._engine.remove(self.container_id)


def _check_end(frame: Frame) -> None:
    if frame.kind is Kind.END:
        end = decode_json(frame.payload)
        if end.get("status") != "ok":
            raise FileRefused(str(end.get("error"))[:500])
