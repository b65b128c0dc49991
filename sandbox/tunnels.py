"""The host's end of a sandbox's tunnels: asks the rules, connects, looks at the first bytes, counts, and copies."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Any, Protocol

import structlog

from sandbox.channel import decode_json
from sandbox.egress import EgressRefused, EgressSettings, HelloReader, Network, check, usable
from sandbox.errors import SandboxError
from sandbox.inside.frames import MAX_PAYLOAD, Frame, Kind
from sandbox.inside.proxy import CREDIT_EVERY, WINDOW

log = structlog.get_logger()

Resolve = Callable[[str, int], Awaitable[list[str]]]


class Sender(Protocol):
    """The channel, as tunnels need it."""

    def send_tunnel(self, kind: Kind, stream: int, payload: bytes = b"") -> None:
        """Queue a frame of a tunnel; after the end of the channel it is dropped."""

    async def drain(self) -> None:
        """Wait until little is queued."""


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of a name, by the machine's resolver. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


class EgressGate:
    """Runs the tunnels of all sandboxes; use as an async context manager."""

    def __init__(self, settings: EgressSettings, *, resolve: Resolve = resolve) -> None:
        self.settings = settings
        self.resolve = resolve
        self.is_closed = True
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> EgressGate:
        """Begin."""
        await self._group.__aenter__()
        self._forever = self._group.create_task(asyncio.Event().wait(), name="egress-gate")
        self._tasks: set[asyncio.Task[None]] = set()
        self.is_closed = False
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End every tunnel; those that are asked for from now on are refused."""
        self.is_closed = True
        for task in (self._forever, *self._tasks):
            task.cancel()
        await self._group.__aexit__(None, None, None)

    def tunnels(self, sender: Sender, network: Network, key: str) -> Tunnels:
        """The tunnels of one sandbox."""
        return Tunnels(self, sender, network, key)

    def start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run one tunnel."""
        task = self._group.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class Tunnels:
    """All tunnels of one sandbox, and what they have carried."""

    def __init__(self, gate: EgressGate, sender: Sender, network: Network, key: str) -> None:
        self.network = network
        self.settings = gate.settings
        self.resolve = gate.resolve
        self.sender = sender
        self.key = key
        self.up = 0
        self.down = 0
        self._gate = gate
        self._tunnels: dict[int, _Tunnel] = {}

    def frame(self, frame: Frame) -> None:
        """Take a frame of a tunnel's stream from the channel; frames of no tunnel are dropped."""
        tunnel = self._tunnels.get(frame.stream)
        if frame.kind is Kind.CONNECT and tunnel is None:
            if self._gate.is_closed:
                answer(self.sender, frame.stream, "the network is closed")
                return
            if len(self._tunnels) >= self.settings.connections:
                answer(self.sender, frame.stream, f"{len(self._tunnels)} connections are open already")
                return
            tunnel = self._tunnels[frame.stream] = _Tunnel(self, frame)
            self._gate.start(self._run(tunnel), f"tunnel-{frame.stream}")
        elif tunnel is not None:
            tunnel.frame(frame)

    def check_spent(self) -> None:
        """Whoever tries again after a cut hears why. Raises EgressRefused."""
        for count, most, what in (
            (self.down, self.settings.down_bytes, "received"),
            (self.up, self.settings.all_up_bytes, "sent"),
        ):
            if count >= most:
                raise EgressRefused(f"this sandbox has {what} {most:,} bytes, all that it may")

    async def _run(self, tunnel: _Tunnel) -> None:
        try:
            await tunnel.run()
        except Exception:
            log.exception("egress.broken", key=self.key)
        finally:
            self._tunnels.pop(tunnel.number, None)
            self.sender.send_tunnel(Kind.END, tunnel.number)

    def end(self) -> None:
        """The sandbox is gone."""
        for tunnel in self._tunnels.values():
            tunnel.stop()


class _Tunnel:
    """One connection, from its CONNECT to its end."""

    def __init__(self, tunnels: Tunnels, frame: Frame) -> None:
        self.number = frame.stream
        self._tunnels = tunnels
        self._settings = tunnels.settings
        self._request = frame.payload
        self._inbox: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._credit = 0
        self._has_credit = asyncio.Event()
        self._up = self._down = self._waiting = 0
        self._is_cut = False
        self._host = ""

    def frame(self, frame: Frame) -> None:
        """Take a frame; a client that sends beyond its credit or bound is cut off."""
        if frame.kind is Kind.DATA and not self._is_cut:
            self._waiting += len(frame.payload)
            self._up += len(frame.payload)
            self._tunnels.up += len(frame.payload)
            over = self._up > self._settings.up_bytes or self._tunnels.up > self._settings.all_up_bytes
            self._is_cut = over or self._waiting > WINDOW
            self._inbox.put_nowait(None if self._is_cut else frame.payload)
            if self._is_cut:
                log.warning("egress.too_much_up", key=self._tunnels.key, host=self._host, bytes=self._up)
        elif frame.kind is Kind.CREDIT:
            self._give(int.from_bytes(frame.payload[:4], "big"))
        elif frame.kind is Kind.END:
            self.stop()

    def _give(self, count: int) -> None:
        self._credit += count
        self._has_credit.set()

    def stop(self) -> None:
        """End as soon as what came is passed on."""
        self._inbox.put_nowait(None)

    async def run(self) -> None:
        """Carry the tunnel to its end; never raises for what the other sides do."""
        sender = self._tunnels.sender
        started = time.monotonic()
        try:
            async with asyncio.timeout(self._settings.connect_seconds):
                reader, writer = await self._connect()
        except EgressRefused as error:
            log.info("egress.refused", key=self._tunnels.key, host=self._host, reason=str(error))
            answer(sender, self.number, str(error))
            return
        except (OSError, TimeoutError, SandboxError) as error:
            log.info("egress.unreachable", key=self._tunnels.key, host=self._host, reason=str(error))
            answer(sender, self.number, f"{self._host} cannot be reached: {_why(error)}")
            return
        answer(sender, self.number, None)
        try:
            async with asyncio.timeout(self._settings.seconds):
                await self._carry(reader, writer)
        except EgressRefused as error:
            log.warning("egress.refused", key=self._tunnels.key, host=self._host, reason=str(error))
        except (OSError, TimeoutError):
            pass  # the client sees the end of its connection
        finally:
            writer.transport.abort()  # all is sent that was drained; a server that reads nothing keeps no tunnel
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            seconds = round(time.monotonic() - started, 1)
            log.info("egress.ended", key=self._tunnels.key, host=self._host, up=self._up, down=self._down, s=seconds)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        request = decode_json(self._request)
        host, port = str(request.get("host")), request.get("port")
        if not isinstance(port, int) or not 0 < port < 65536:
            raise EgressRefused("the port makes no sense")
        self._give(int(request.get("credit") or 0))
        self._host = check(host, port, self._tunnels.network, self._settings)
        self._tunnels.check_spent()
        proxy = self._settings.proxy
        if proxy is not None and proxy.serves(self._host, port):
            return await proxy.connect(self._host, port)
        addresses = await self._tunnels.resolve(self._host, port)
        # connected by address: a name that resolves otherwise a moment later changes nothing
        address = usable(addresses, trusted=(self._host, port) in self._settings.trusted)
        return await asyncio.open_connection(address, port, limit=2 * MAX_PAYLOAD)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello = HelloReader()
        if not await self._greet(hello):
            return
        writer.transport.set_write_buffer_limits(0)  # so that what is drained is sent
        writer.write(bytes(hello.data))
        self._waiting -= len(hello.data)
        down = asyncio.ensure_future(self._carry_down(reader))
        up = asyncio.ensure_future(self._carry_up(writer, hello))
        try:
            await asyncio.wait({down, up}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (down, up):
                task.cancel()
            for result in await asyncio.gather(down, up, return_exceptions=True):
                if isinstance(result, EgressRefused):
                    log.warning("egress.refused", key=self._tunnels.key, host=self._host, reason=str(result))

    async def _greet(self, hello: HelloReader) -> bool:
        """Read until the client names the host that it asked for; false when it hangs up before."""
        while data := await self._inbox.get():
            name = hello.feed(data)
            if name is None:
                continue
            if name != self._host:
                raise EgressRefused(f"asked for {self._host}, but speaks to {name[:80]}")
            return True
        return False

    async def _carry_up(self, writer: asyncio.StreamWriter, hello: HelloReader) -> None:
        owed = len(hello.data)
        while data := await self._inbox.get():
            hello.feed(data)
            writer.write(data)
            await writer.drain()
            self._waiting -= len(data)
            owed += len(data)
            if owed >= CREDIT_EVERY:
                self._tunnels.sender.send_tunnel(Kind.CREDIT, self.number, owed.to_bytes(4, "big"))
                owed = 0

    async def _carry_down(self, reader: asyncio.StreamReader) -> None:
        sender = self._tunnels.sender
        while True:
            while self._credit <= 0:
                self._has_credit.clear()
                await self._has_credit.wait()
            data = await reader.read(min(MAX_PAYLOAD, self._credit))
            if not data:
                return
            self._credit -= len(data)
            self._down += len(data)
            self._tunnels.down += len(data)
            if self._tunnels.down > self._settings.down_bytes:
                log.warning("egress.too_much_down", key=self._tunnels.key, host=self._host)
                return
            sender.send_tunnel(Kind.DATA, self.number, data)
            await sender.drain()


def answer(sender: Sender, number: int, error: str | None) -> None:
    """Answer a CONNECT."""
    value = {"status": "ok"} if error is None else {"status": "refused", "error": error}
    sender.send_tunnel(Kind.ANSWER, number, json.dumps(value).encode())


def _why(error: Exception) -> str:
    """For the person in the chat, who is not told addresses of this machine's network."""
    if isinstance(error, ConnectionError) and error.errno:
        return os.strerror(error.errno).lower()
    return str(error)[:100] or "it does not answer"
