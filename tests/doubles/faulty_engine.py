"""An Engine that has faults by a script, around one that works.

A fault waits under the name of a call ("create", "attach", "remove", "pause", "unpause", "containers") and meets the
next such call; under "stream" it meets the bytes that the newest container sends.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass

from sandbox.contract import Container, Engine, Wire
from sandbox.errors import SandboxError, SandboxGone
from sandbox.limits import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Slow:
    """The call is answered after so many seconds; a create makes its container first, as the real engine may."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Never:
    """The call is not answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The call raises."""

    error: SandboxError


@dataclass(frozen=True, slots=True, kw_only=True)
class Vanishing:
    """The container is gone before the call is made; a create's goes right after its start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """The stream ends after so many more bytes from the container, wherever that is."""

    after_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CutSent:
    """The stream ends after so many more bytes to the container."""

    after_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stall:
    """The stream says nothing any more after so many bytes, and does not end."""

    after_bytes: int


Fault = Slow | Never | Refusal | Vanishing


class FaultyWire:
    """Another wire, which can break; what comes before anybody receives is kept, as the real one does."""

    def __init__(self, wire: Wire) -> None:
        self.sent = self.received = 0
        """Bytes so far, to and from the container."""
        self._wire = wire
        self._fault: Cut | CutSent | Stall | None = None
        self._left = 0
        self._early = bytearray()
        self._has_ended = False
        self._on_data: Callable[[bytes], None] = self._early.extend
        self._on_end: Callable[[], None] = lambda: None
        wire.receive(self._received, self._ended)

    def breaks(self, fault: Cut | CutSent | Stall) -> None:
        self._fault, self._left = fault, fault.after_bytes

    def write(self, data: bytes) -> None:
        self.sent += len(data)
        if not isinstance(self._fault, CutSent):
            self._wire.write(data)
            return
        had, self._left = self._left, self._left - len(data)
        self._wire.write(data[: max(0, had)])
        if had >= 0 > self._left:
            self._wire.close()
            asyncio.get_running_loop().call_soon(self._ended)

    async def drain(self) -> None:
        await self._wire.drain()

    def receive(self, on_data: Callable[[bytes], None], on_end: Callable[[], None]) -> None:
        self._on_data, self._on_end = on_data, on_end
        on_data(bytes(self._early))
        if self._has_ended:
            on_end()

    def close(self) -> None:
        self._wire.close()

    def cut(self) -> None:
        """Now, with nobody using it."""
        self._wire.close()
        self._ended()

    def _received(self, data: bytes) -> None:
        self.received += len(data)
        if self._fault is None or isinstance(self._fault, CutSent):
            self._on_data(data)
            return
        had, self._left = self._left, max(0, self._left - len(data))
        if had:
            self._on_data(data[:had])
        if had and not self._left and isinstance(self._fault, Cut):
            self._wire.close()
            self._ended()

    def _ended(self) -> None:
        if not isinstance(self._fault, Stall):
            self._has_ended = True
            self._on_end()


class FaultyEngine:
    """See the module; `made` counts the containers that were created."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._script: dict[str, deque[Fault]] = defaultdict(deque)
        self._first_stream: Cut | CutSent | Stall | None = None
        self.wires: list[FaultyWire] = []
        self.made = 0
        self.met = asyncio.Event()
        """Set when a call has met a fault."""

    def script(self, call: str, *faults: Fault) -> None:
        self._script[call].extend(faults)

    def greets_with(self, fault: Cut | CutSent | Stall) -> None:
        """Break the next stream from its first byte on."""
        self._first_stream = fault

    async def create(self, sandbox_id: str, limits: Limits) -> tuple[str, Wire]:
        fault = await self._meet("create")
        container_id, inner = await self._engine.create(sandbox_id, limits)
        self.made += 1
        wire = self._wrapped(inner)
        try:
            if isinstance(fault, Slow):
                await self._sleep(fault)
        except BaseException:
            await asyncio.shield(self._engine.remove(container_id))
            raise
        if isinstance(fault, Vanishing):
            await self._engine.remove(container_id)
        return container_id, wire

    async def attach(self, container_id: str) -> Wire:
        await self._before("attach", container_id)
        return self._wrapped(await self._engine.attach(container_id))

    def _wrapped(self, inner: Wire) -> FaultyWire:
        wire = FaultyWire(inner)
        if self._first_stream is not None:
            wire.breaks(self._first_stream)
            self._first_stream = None
        self.wires.append(wire)
        return wire

    async def remove(self, container_id: str) -> None:
        await self._before("remove", container_id)
        await self._engine.remove(container_id)

    async def pause(self, container_id: str) -> None:
        await self._before("pause", container_id)
        await self._engine.pause(container_id)

    async def unpause(self, container_id: str) -> None:
        await self._before("unpause", container_id)
        await self._engine.unpause(container_id)

    async def containers(self) -> list[Container]:
        await self._before("containers", "")
        return await self._engine.containers()

    async def aclose(self) -> None:
        await self._engine.aclose()

    async def _before(self, call: str, container_id: str) -> None:
        fault = await self._meet(call)
        if isinstance(fault, Slow):
            await self._sleep(fault)
        elif isinstance(fault, Vanishing):
            await self._engine.remove(container_id)
            raise SandboxGone

    async def _sleep(self, fault: Slow) -> None:
        self.met.set()
        await asyncio.sleep(fault.seconds)

    async def _meet(self, call: str) -> Fault | None:
        waiting = self._script[call]
        if not waiting:
            return None
        fault = waiting.popleft()
        if not isinstance(fault, Slow):
            self.met.set()
        if isinstance(fault, Refusal):
            raise fault.error
        if isinstance(fault, Never):
            await asyncio.get_running_loop().create_future()
        return fault
