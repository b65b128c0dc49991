"""engine-guard: the one process that holds the Docker socket. It lets our calls through and refuses every other.

A connection carries one request and ends with its answer, so that nothing can hide behind a request that passed; after
an attach it carries the stream, both ways, each side no faster than the other one reads.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import stat
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import h11
import structlog

from sandbox.engine_address import EnginePlace
from sandbox.errors import SandboxError
from sandbox.guard_engine import CHUNK_BYTES, GuardedEngine, closed, read_answer
from sandbox.guard_rules import CREATE_BYTES, Call, Forward, Refuse, Rules, decide
from sandbox.guard_stream import GONE_SECONDS, Streams, gone, joined
from sandbox.limits import ENGINE_SECONDS

SOCKET_MODE = 0o660
MAX_CONNECTIONS = 400  # two descriptors each: below the usual 1024
HEAD_BYTES = 16 * 1024
REQUEST_SECONDS = 10.0  # for a client to send its request

log = structlog.get_logger()


class EngineGuard:
    """Answers on a unix socket for one engine, by one set of rules."""

    def __init__(self, engine: EnginePlace, rules: Rules) -> None:
        self._engine = GuardedEngine(engine)
        self._rules = rules
        self._connections = 0
        self._creating = 0

    async def serve(self, listen: Path, ready: Callable[[], None]) -> None:
        """Answer on `listen` until cancelled; the socket file goes at the end. Raises SandboxError."""
        with _listening(listen) as taken:
            async with asyncio.TaskGroup() as group:

                def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                    group.create_task(self._connected((reader, writer)), name="guard-connection")

                server = await asyncio.start_unix_server(connected, sock=taken, limit=CHUNK_BYTES)
                try:
                    ready()
                    await asyncio.get_running_loop().create_future()
                finally:
                    server.close()

    async def _connected(self, client: Streams) -> None:
        self._connections += 1
        try:
            if self._connections > MAX_CONNECTIONS:
                raise SandboxError(f"more than {MAX_CONNECTIONS} connections")
            await self._answered(client)
        except (OSError, EOFError, TimeoutError, SandboxError) as error:
            # closed without an answer, a client takes it for what it is: an engine that does not answer
            log.warning("guard.failed", error=f"{type(error).__name__}: {error}")
        except Exception:  # one connection's trouble must not end the others
            log.exception("guard.failed")
        finally:
            self._connections -= 1
            await closed(client[1])

    async def _answered(self, client: Streams) -> None:
        verdict: Forward | Refuse
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                call = await read_call(client[0])
            verdict = decide(call, self._rules)
        except h11.RemoteProtocolError as error:
            call, verdict = Call(method="", target=""), Refuse(why=f"This request cannot be read: {error}.")
        except EOFError:
            return  # somebody looked whether anyone listens
        if isinstance(verdict, Forward):
            verdict = await self._forwarded(verdict, client)
        if isinstance(verdict, Refuse):
            log.warning("guard.refused", method=call.method, target=call.target[:200], why=verdict.why)
            _say(client, verdict.status, verdict.why)

    async def _forwarded(self, forward: Forward, client: Streams) -> Forward | Refuse:
        """Do the call, unless the engine tells what makes it a refusal."""
        self._creating += forward.creates  # before any question, so that many at once cannot all find room
        try:
            if forward.image and forward.image not in await self._engine.image_ids(self._rules.images):
                return Refuse(why=f"{forward.image} is not the sandbox image.")
            most = self._rules.limits.containers
            if forward.creates and await self._engine.count() + self._creating > most:
                return Refuse(why=f"There are {most} containers, the most this guard lets be.")
            container_id = await self._engine.ours(forward.container) if forward.container else ""
            if container_id is None:  # the engine's words for one that is not there, so that nobody learns of others
                return Refuse(why=f"No such container: {forward.container}", status=404)
            await self._called(forward, container_id, client)
            return forward
        finally:
            self._creating -= forward.creates

    async def _called(self, forward: Forward, container_id: str, client: Streams) -> None:
        async with self._engine.calling(forward, container_id) as engine:
            if forward.upgrades:
                await self._attached(client, engine)
                return
            async with asyncio.timeout(None if forward.waits else ENGINE_SECONDS):
                await _copied(engine, client)

    async def _attached(self, client: Streams, engine: Streams) -> None:
        async with asyncio.timeout(ENGINE_SECONDS):
            head = await engine[0].readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 101 "):  # not a byte of the client's may follow: it would be a request
                status, body = await read_answer(engine[0], head)
                _say(client, status, _message(body))
                return
        client[1].write(head)
        await joined(client, engine)


async def read_call(reader: asyncio.StreamReader) -> Call:
    """The one request of a connection, whole and bounded. Raises h11.RemoteProtocolError, EOFError."""
    http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
    request, body = h11.Request(method="GET", target="/", headers=[("Host", "none")]), bytearray()
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(await reader.read(HEAD_BYTES))  # h11 bounds what is not yet whole, and so what we hand it
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > CREATE_BYTES:
                raise h11.RemoteProtocolError(f"more than {CREATE_BYTES} bytes")
        elif isinstance(event, h11.EndOfMessage):
            break
        else:
            raise EOFError("no request")
    if http.trailing_data[0]:
        raise h11.RemoteProtocolError("a connection is for one request")
    return _call(request, bytes(body))


def _call(request: h11.Request, body: bytes) -> Call:
    headers: dict[str, str] = {}
    for name, value in request.headers:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        headers[key] = f"{headers[key]},{text}" if key in headers else text
    return Call(method=request.method.decode(), target=request.target.decode("latin-1"), headers=headers, body=body)


async def _copied(engine: Streams, client: Streams) -> None:
    """Copy an answer to its end, or until the client has gone."""
    async with asyncio.TaskGroup() as group:
        answer = group.create_task(_copy(engine[0], client[1]), name="guard-answer")
        leaving = group.create_task(_left(client), name="guard-leaving")
        await asyncio.wait((answer, leaving), return_when=asyncio.FIRST_COMPLETED)
        answer.cancel()
        leaving.cancel()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK_BYTES):
            writer.write(data)
            await writer.drain()


async def _left(client: Streams) -> None:
    """Until the client closes its connection, or sends a second request."""
    if await client[0].read(1):
        return
    while not gone(client[1].transport):  # noqa: ASYNC110 - the loop has no event for it
        await asyncio.sleep(GONE_SECONDS)


def _say(client: Streams, status: int, message: str) -> None:
    body = json.dumps({"message": message}).encode()
    phrase = HTTPStatus(status).phrase
    head = f"HTTP/1.1 {status} {phrase}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    client[1].write(f"{head}Connection: close\r\n\r\n".encode() + body)


def _message(body: bytes) -> str:
    try:
        said: Any = json.loads(body)["message"]
    except (ValueError, KeyError, TypeError):
        said = body.decode("utf-8", "replace")
    return str(said)


@contextlib.contextmanager
def _listening(path: Path) -> Iterator[socket.socket]:
    taken = socket.socket(socket.AF_UNIX)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        if path.exists() and stat.S_ISSOCK(path.lstat().st_mode):
            path.unlink()  # of a guard that was killed
        before = os.umask(0o777 & ~SOCKET_MODE)  # no moment in which others could connect
        try:
            taken.bind(str(path))
        finally:
            os.umask(before)
    except OSError as error:
        taken.close()
        raise SandboxError(f"engine-guard cannot listen on {path} ({error.strerror}).") from error
    try:
        yield taken
    finally:
        taken.close()
        path.unlink(missing_ok=True)
