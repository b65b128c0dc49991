"""The bounds on a sandbox's way out: what whoever runs into one sees, and what is logged."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from sandbox.egress import EgressSettings, Network
from sandbox.inside.frames import MAX_PAYLOAD, Frame, Kind
from sandbox.inside.proxy import FIRST_STREAM, WINDOW
from sandbox.tunnels import EgressGate
from tests.doubles.networked import HOST, KEY, networked, prints
from tests.doubles.process_engine import ProcessEngine
from tests.doubles.tls_site import Site, tls_site

BIG = 4 * 1024 * 1024


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with tls_site(tmp_path, [HOST], BIG) as running:
        yield running


async def test_what_is_checked_is_what_is_connected_to_whatever_the_name_says_a_moment_later(
    process_engine: ProcessEngine, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Case 37: DNS rebinding."""
    met: list[object] = []
    other = await asyncio.start_server(lambda _, writer: met.append(writer.close()), "127.0.0.9", site.port)
    look_up = socket.getaddrinfo
    asked: list[str] = []

    async def first_one_then_another(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1" if len(asked) == 1 else "127.0.0.9"]

    def machines(host: Any, *arguments: Any, **options: Any) -> Any:
        return look_up("127.0.0.9" if host == HOST else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", machines)
    async with networked(process_engine, site, resolve=first_one_then_another) as sandbox:
        printed = await prints(sandbox, f"print(ask({site.port}))")
    other.close()

    assert printed == "b'the word'\n"
    assert asked == [HOST]
    assert met == []


async def test_each_tunnel_is_logged_with_thread_host_and_bytes(process_engine: ProcessEngine, site: Site) -> None:
    with capture_logs() as logs:
        async with networked(process_engine, site) as sandbox:
            await prints(sandbox, f"ask({site.port}); len(ask({site.port}, '/big'))")

    small, large = logs
    assert [(entry["event"], entry["key"], entry["host"]) for entry in logs] == [("egress.ended", KEY, HOST)] * 2
    assert 0 < small["up"] < 5000 and 0 < small["down"] < 5000
    assert large["up"] < 50_000 and BIG < large["down"] < BIG * 1.01
    assert small["s"] < 30


async def test_too_much_downwards_is_cut_off_and_then_refused_with_the_reason(
    process_engine: ProcessEngine, site: Site
) -> None:
    with capture_logs() as logs:
        async with networked(process_engine, site, EgressSettings(down_bytes=1_000_000)) as sandbox:
            first = await prints(sandbox, f"print(str(ask({site.port}, '/big'))[:14])")
            second = await prints(sandbox, f"print(ask({site.port}))")

    assert first == "IncompleteRead\n"
    assert "403 this sandbox has received 1,000,000 bytes, all that it may" in second
    assert [entry["event"] for entry in logs] == ["egress.too_much_down", "egress.ended", "egress.refused"]


async def test_too_much_upwards_in_all_is_cut_off_and_then_refused_with_the_reason(
    process_engine: ProcessEngine, site: Site
) -> None:
    code = f"""
def post():
    try:
        connection = connected({site.port})
        connection.request('POST', '/word', body=bytes(40_000))
        return connection.getresponse().status
    except OSError as error:
        return f'{{type(error).__name__}} {{error}}'
print(post(), post(), post())
"""
    with capture_logs() as logs:
        async with networked(process_engine, site, EgressSettings(all_up_bytes=60_000)) as sandbox:
            printed = await prints(sandbox, code)

    assert printed.startswith("200 RemoteDisconnected ")
    assert "403 this sandbox has sent 60,000 bytes, all that it may" in printed
    assert "egress.too_much_up" in [entry["event"] for entry in logs]


async def test_one_connection_too_many_is_refused_until_another_has_ended(
    process_engine: ProcessEngine, site: Site
) -> None:
    code = f"""
kept = [tunnel({site.port}) for _ in range(2)]
print(ask({site.port}))
for connection in kept: connection.close()
while '2 connections' in str(answer := ask({site.port})): pass
print(answer)
"""
    async with networked(process_engine, site, EgressSettings(connections=2)) as sandbox:
        refused, after, _ = (await prints(sandbox, code)).split("\n")

    assert refused == "OSError Tunnel connection failed: 403 2 connections are open already"
    assert after == "b'the word'"


async def test_a_connection_ends_when_its_time_is_up_and_another_may_be_opened(
    process_engine: ProcessEngine, site: Site
) -> None:
    code = f"""
def wait():
    try: return connected({site.port}).sock.recv(1)
    except ConnectionError as error: return type(error).__name__
    except ssl.SSLEOFError: return b''
print(wait(), ask({site.port}))
"""
    async with networked(process_engine, site, EgressSettings(seconds=0.5)) as sandbox:
        printed = await prints(sandbox, code)

    assert printed.endswith(" b'the word'\n")
    assert "Timeout" not in printed


async def test_a_server_that_reads_nothing_keeps_no_connection(process_engine: ProcessEngine, site: Site) -> None:
    connections: list[asyncio.StreamWriter] = []
    deaf = await asyncio.start_server(lambda _, writer: connections.append(writer), "127.0.0.1", 0, limit=1024)
    port = deaf.sockets[0].getsockname()[1]
    code = f"""
outgoing = ssl.MemoryBIO()
client = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname='{HOST}')
try: client.do_handshake()
except ssl.SSLWantReadError: pass
sock = tunnel({port}).sock
try: sock.sendall(outgoing.read() + b'\\x17\\x03\\x03' + bytes(30_000_000))
except ConnectionError: print('cut off')
print(ask({site.port}))
"""
    bounds = EgressSettings(
        connections=1, seconds=0.5, up_bytes=1 << 30, all_up_bytes=1 << 30, trusted=frozenset({(HOST, port)})
    )

    async with networked(process_engine, site, bounds) as sandbox:
        printed = await prints(sandbox, code)
    deaf.close()
    for writer in connections:
        writer.close()

    assert printed == "cut off\nb'the word'\n"


class Sent:
    """What the host's end sends to a sandbox."""

    def __init__(self) -> None:
        self.frames: list[tuple[Kind, bytes]] = []

    def send_tunnel(self, kind: Kind, stream: int, payload: bytes = b"") -> None:
        self.frames.append((kind, payload))

    async def drain(self) -> None:
        pass


async def test_a_supervisor_that_does_not_wait_for_its_credit_is_cut_off() -> None:
    """It may be in the hands of what runs in the sandbox; what waits for a slow server is our memory."""
    resolving = asyncio.Event()

    async def slow(host: str, port: int) -> list[str]:
        await resolving.wait()
        return []

    connect = json.dumps({"host": HOST, "port": 443, "credit": WINDOW}).encode()
    data = [Frame(Kind.DATA, FIRST_STREAM, 1, 0, bytes(MAX_PAYLOAD)) for _ in range(2 * WINDOW // MAX_PAYLOAD)]
    with capture_logs() as logs:
        async with EgressGate(EgressSettings(), resolve=slow) as gate:
            tunnels = gate.tunnels(Sent(), Network(mode="allowlist", hosts=frozenset({HOST})), KEY)
            for frame in (Frame(Kind.CONNECT, FIRST_STREAM, 1, 0, connect), *data):
                tunnels.frame(frame)

    assert [(entry["event"], entry["bytes"]) for entry in logs] == [("egress.too_much_up", WINDOW + MAX_PAYLOAD)]
    assert tunnels.up == WINDOW + MAX_PAYLOAD
