"""The attach stream of the Docker Engine as a Wire.

After an HTTP upgrade the engine sends frames of its own: one byte of stream (1 stdout, 2 stderr), three zero
bytes, four bytes of length, then the data. Source: Engine API, "Attach to a container".
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable

from sandbox.engine_address import EnginePlace
from sandbox.errors import EngineUnavailable, SandboxGone

_HEADER = struct.Struct(">BxxxI")
_STDOUT = 1
LOG_BYTES = 8 * 1024  # of the supervisor's standard error, kept for a diagnosis
HANDSHAKE_BYTES = 16 * 1024
HANDSHAKE_SECONDS = 10.0
MAX_MUX_BYTES = 1 << 20  # one engine frame; more is no engine


class DockerWire(asyncio.Protocol):
    """Standard input and output of one container, demultiplexed."""

    def __init__(self) -> None:
        self.log = bytearray()
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._upgraded: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._on_data: Callable[[bytes], None] | None = None
        self._on_end: Callable[[], None] | None = None
        self._early: list[bytes] = []
        self._ended = False
        self._may_write = asyncio.Event()
        self._may_write.set()

    @classmethod
    async def open(cls, place: EnginePlace, path: str) -> DockerWire:
        """Upgrade a connection to the engine. Raises EngineUnavailable, SandboxGone."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                if isinstance(place.socket, str):
                    transport, wire = await loop.create_unix_connection(cls, place.socket)
                else:
                    transport, wire = await loop.create_connection(cls, *place.socket, ssl=place.tls)
        except OSError as error:  # a time-out too
            raise EngineUnavailable(f"The Docker Engine does not answer ({error}).") from error
        head = (
            f"POST {path} HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n"
        )
        transport.write(head.encode())
        try:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                await wire._upgraded
        except TimeoutError as error:
            transport.abort()
            raise EngineUnavailable("The Docker Engine did not answer an attach.") from error
        except BaseException:
            transport.abort()
            raise
        return wire

    def write(self, data: bytes) -> None:
        """See contract.Wire."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    async def drain(self) -> None:
        """See contract.Wire."""
        await self._may_write.wait()

    def receive(self, on_data: Callable[[bytes], None], on_end: Callable[[], None]) -> None:
        """See contract.Wire."""
        self._on_data, self._on_end = on_data, on_end
        early, self._early = self._early, []
        for data in early:
            on_data(data)
        if self._ended:
            on_end()

    def close(self) -> None:
        """See contract.Wire."""
        if self._transport is not None:
            self._transport.abort()

    # ---- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        if isinstance(transport, asyncio.Transport):
            self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        self._buffer += data
        if not self._upgraded.done() and not self._read_head():
            return
        position = 0
        while len(self._buffer) - position >= _HEADER.size:
            stream, length = _HEADER.unpack_from(self._buffer, position)
            end = position + _HEADER.size + length
            if length > MAX_MUX_BYTES:
                self.close()
                return
            if len(self._buffer) < end:
                break
            self._demultiplexed(stream, bytes(self._buffer[position + _HEADER.size : end]))
            position = end
        del self._buffer[:position]

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > HANDSHAKE_BYTES:
                self._upgraded.set_exception(EngineUnavailable("The Docker Engine sent no HTTP."))
            return False
        status = bytes(self._buffer[:end]).split(b"\r\n")[0].decode("latin-1")
        if " 101 " in f"{status} " or " 200 " in f"{status} ":
            del self._buffer[: end + 4]
            self._upgraded.set_result(None)
            return True
        refusal = f"The Docker Engine refused to attach: {status}"
        gone = " 404 " in f"{status} "  # anything else says nothing of the container
        self._upgraded.set_exception(SandboxGone(refusal) if gone else EngineUnavailable(refusal))
        return False

    def _demultiplexed(self, stream: int, data: bytes) -> None:
        if stream != _STDOUT:
            self.log += data
            del self.log[:-LOG_BYTES]
        elif self._on_data is not None:
            self._on_data(data)
        else:
            self._early.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop."""
        self._ended = True
        self._may_write.set()
        if not self._upgraded.done():
            self._upgraded.set_exception(EngineUnavailable("The Docker Engine closed the connection."))
        elif self._on_end is not None:
            self._on_end()

    def pause_writing(self) -> None:
        """Called by the loop."""
        self._may_write.clear()

    def resume_writing(self) -> None:
        """Called by the loop."""
        self._may_write.set()
