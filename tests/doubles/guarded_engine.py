"""An engine that does as a test says, and clients of the guard before it that do."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from sandbox.engine_address import EnginePlace
from tests.doubles.guard import IMAGE_ID

IMAGE = "threadbox-sandbox:0123"
ID = "0123456789abcdef" * 4
ATTACH = f"POST /containers/{ID}/attach?stream=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
UPGRADED = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
INSPECTED = {
    "Id": ID,
    "Name": "/threadbox-0123abcd",
    "Config": {"Labels": {"threadbox": "1", "threadbox.id": "0123abcd"}},
}

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class FakeEngine:
    """Knows one container, one image; any other request goes to `handler`. Remembers the first line of each."""

    def __init__(self, folder: Path) -> None:
        self.place = EnginePlace(str(folder / "engine.sock"))
        self.requests: list[str] = []
        self.handler: Handler | None = None
        self.ended = asyncio.Event()

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            handlers: list[asyncio.Task[None]] = []
            server = await asyncio.start_unix_server(
                lambda *streams: handlers.append(group.create_task(self._connected(*streams))), self.place.socket
            )
            yield
            server.close()
            for handler in handlers:
                handler.cancel()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._answered(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answered(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, target, _ = head.split(" ", 2)
        self.requests.append(f"{method} {target}")
        known: dict[str, Any] = {
            f"GET /containers/{ID}/json": INSPECTED,
            f"GET /images/{IMAGE}/json": {"Id": IMAGE_ID},
            "GET /containers/json": [],
        }
        answer = known.get(f"{method} {target.partition('?')[0]}")
        if answer is not None:
            writer.write(http(200, answer))
        elif self.handler is not None:
            with contextlib.suppress(OSError):
                await self.handler(reader, writer)
            self.ended.set()


def http(status: int, answer: Any) -> bytes:
    body = json.dumps(answer).encode()
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


class Clients:
    """Connections to the guard, closed when the test is over."""

    def __init__(self, guard: str) -> None:
        self._guard = guard
        self._writers: list[asyncio.StreamWriter] = []

    async def send(self, *parts: str) -> Streams:
        reader, writer = await asyncio.open_unix_connection(self._guard)
        self._writers.append(writer)
        writer.write("".join(parts).encode())
        return reader, writer

    async def answer(self, *parts: str) -> bytes:
        return await (await self.send(*parts))[0].read()

    async def attach(self) -> Streams:
        reader, writer = await self.send(ATTACH)
        assert await reader.readuntil(b"\r\n\r\n") == UPGRADED
        return reader, writer

    async def aclose(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
