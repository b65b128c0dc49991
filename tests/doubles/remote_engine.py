"""The machine's Docker Engine on a TCP port of loopback, with or without TLS."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator

from sandbox.engine_address import client_parameters, engine_place


@contextlib.asynccontextmanager
async def remote_engine(tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Its port; every byte is passed on to the engine's own socket."""
    socket = engine_place(client_parameters()).socket
    assert isinstance(socket, str)
    connections: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.current_task()
        assert connection is not None
        connections.add(connection)
        there, back = await asyncio.open_unix_connection(socket)
        try:
            done = [asyncio.ensure_future(_copy(reader, back)), asyncio.ensure_future(_copy(there, writer))]
            await asyncio.wait(done, return_when=asyncio.FIRST_COMPLETED)
            for copying in done:
                copying.cancel()
        finally:
            connections.discard(connection)
            writer.close()
            back.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        while connections:
            await asyncio.wait(connections)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
