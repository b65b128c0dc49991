"""engine-guard in front of engines that misbehave, and clients that do."""

from __future__ import annotations

import asyncio
import contextlib
import json
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import sandbox.guard
import sandbox.guard_stream
from sandbox.errors import SandboxError
from sandbox.guard_create import GuardLimits
from tests.doubles.guard import guarding, sandbox_body
from tests.doubles.guarded_engine import ATTACH, ID, IMAGE, UPGRADED, Clients, FakeEngine, http


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[FakeEngine]:
    engine = FakeEngine(tmp_path)
    async with engine.serving():
        yield engine


@pytest.fixture
async def guard(tmp_path: Path, engine: FakeEngine) -> AsyncIterator[str]:
    listen = tmp_path / "guard" / "engine.sock"
    async with guarding(listen, engine.place, IMAGE, GuardLimits(containers=3)):
        yield str(listen)


@pytest.fixture
async def clients(guard: str) -> AsyncIterator[Clients]:
    clients = Clients(guard)
    yield clients
    await clients.aclose()


async def test_an_attach_carries_bytes_both_ways_and_the_ends_of_both(clients: Clients, engine: FakeEngine) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(UPGRADED + b"first ")
        writer.write(b"got " + await reader.read())  # to the end of the client's half
        writer.write(b" last")

    engine.handler = handler
    reader, writer = await clients.attach()
    writer.write(b"x" * 300_000)
    writer.write_eof()
    output = await reader.read()

    assert output == b"first got " + b"x" * 300_000 + b" last"


@pytest.mark.parametrize("size", [0, 10, 2_000_000])
async def test_an_engine_that_ends_at_once_is_heard_to_its_end(clients: Clients, engine: FakeEngine, size: int) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(UPGRADED + b"x" * size)
        await writer.drain()

    engine.handler = handler

    assert await clients.answer(ATTACH) == UPGRADED + b"x" * size


async def test_a_client_that_leaves_an_engine_that_does_not_read_is_detached(
    clients: Clients, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox.guard_stream, "GONE_SECONDS", 0.05)
    monkeypatch.setattr(sandbox.guard_stream, "FLUSH_SECONDS", 0.1)
    leave, left = asyncio.Event(), asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(UPGRADED)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await leave.wait()
        with contextlib.suppress(OSError):
            while True:  # the guard's end of the connection goes, at last
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.05)
        left.set()

    engine.handler = handler
    _, writer = await clients.attach()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.2):
            while True:
                writer.write(b"x" * 65536)
                await writer.drain()
    writer.transport.abort()
    leave.set()
    async with asyncio.timeout(10):
        await left.wait()


async def test_a_client_that_leaves_is_detached_from_the_engine_with_its_last_words(
    clients: Clients, engine: FakeEngine
) -> None:
    heard: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(UPGRADED)
        heard.append(await reader.read())

    engine.handler = handler
    _, writer = await clients.attach()
    writer.write(b"stop")
    await writer.drain()
    writer.transport.abort()
    async with asyncio.timeout(3):
        await engine.ended.wait()

    assert heard == [b"stop"]


async def test_a_client_that_does_not_read_slows_the_engine_down(clients: Clients, engine: FakeEngine) -> None:
    wrote = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal wrote
        writer.write(UPGRADED)
        with contextlib.suppress(TimeoutError):
            while True:
                async with asyncio.timeout(0.2):
                    writer.write(b"x" * 65536)
                    await writer.drain()
                wrote += 65536

    engine.handler = handler
    reader, writer = await clients.send(ATTACH)
    await engine.ended.wait()

    assert wrote < 4 << 20
    assert len(await reader.read(10 << 20)) > 0
    writer.transport.abort()


async def test_an_engine_that_does_not_read_slows_the_client_down(clients: Clients, engine: FakeEngine) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(UPGRADED)
        await asyncio.Event().wait()

    engine.handler = handler
    _, writer = await clients.attach()
    wrote = 0
    with contextlib.suppress(TimeoutError):
        while True:
            async with asyncio.timeout(0.2):
                writer.write(b"x" * 65536)
                await writer.drain()
            wrote += 65536
    writer.transport.abort()

    assert wrote < 4 << 20


async def test_after_an_attach_that_was_refused_nothing_of_the_client_reaches_the_engine(
    clients: Clients, engine: FakeEngine
) -> None:
    """The engine would keep that connection open, and read what follows as a request."""
    heard: list[bytes] = []
    asked, followed = asyncio.Event(), asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await followed.wait()
        writer.write(http(409, {"message": "paused"}))
        heard.append(await reader.read())

    engine.handler = handler
    reader, writer = await clients.send(ATTACH)
    await asked.wait()
    writer.write(b"DELETE /containers/other?force=1 HTTP/1.1\r\nHost: x\r\n\r\n")
    await writer.drain()
    followed.set()
    answer = await reader.readuntil(b"}")
    await engine.ended.wait()

    assert answer.startswith(b"HTTP/1.1 409 ")
    assert answer.endswith(b'{"message": "paused"}')
    assert heard == [b""]


async def test_a_second_request_on_a_connection_is_never_heard(clients: Clients, engine: FakeEngine) -> None:
    at_once, one = await clients.send("GET /containers/json HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
    later, two = await clients.send("GET /containers/json HTTP/1.1\r\nHost: x\r\n\r\n")
    await later.readuntil(b"\r\n\r\n")
    with contextlib.suppress(OSError):
        two.write(b"GET /containers/json HTTP/1.1\r\nHost: x\r\n\r\n")
        await two.drain()
    answers = await at_once.read(), await later.read()

    assert answers[0].startswith(b"HTTP/1.1 403 ")
    assert answers[1] == b"[]"
    assert len(engine.requests) == 1


async def test_an_engine_that_does_not_answer_is_one_that_is_not_there(
    clients: Clients, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox.guard, "ENGINE_SECONDS", 0.1)

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    engine.handler = handler
    for request in ("GET /version HTTP/1.1\r\nHost: x\r\n\r\n", ATTACH):
        assert await clients.answer(request) == b""


async def test_an_engine_that_is_not_there_is_not_taken_for_a_refusal(tmp_path: Path) -> None:
    listen = tmp_path / "guard.sock"
    async with guarding(listen, str(tmp_path / "nothing.sock"), IMAGE, GuardLimits()):
        clients = Clients(str(listen))
        answer = await clients.answer("GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
        await clients.aclose()

    assert answer == b""


async def test_a_request_that_never_ends_is_not_waited_for(clients: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox.guard, "REQUEST_SECONDS", 0.1)
    answer = await clients.answer("POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")

    assert answer == b""


async def test_connections_are_bounded(clients: Clients, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox.guard, "MAX_CONNECTIONS", 2)
    for _ in range(2):
        await clients.send()
    with contextlib.suppress(ConnectionResetError):
        assert await clients.answer("GET /version HTTP/1.1\r\nHost: x\r\n\r\n") == b""

    assert engine.requests == []


async def test_many_creates_at_once_make_no_more_containers_than_the_most(clients: Clients, engine: FakeEngine) -> None:
    body = json.dumps(sandbox_body())
    create = (
        f"POST /containers/create?name=threadbox-0123abcd HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    all_here = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await all_here.wait()
        writer.write(http(201, {"Id": ID}))

    engine.handler = handler
    refused = [asyncio.create_task(clients.answer(create, body)) for _ in range(8)]
    while sum(task.done() for task in refused) < 5:
        await asyncio.wait([task for task in refused if not task.done()], return_when=asyncio.FIRST_COMPLETED)
    all_here.set()
    answers = [(await task).split()[1] for task in refused]

    assert sorted(answers) == [b"201"] * 3 + [b"403"] * 5


async def test_the_socket_is_for_owner_and_group_and_goes_with_the_guard(tmp_path: Path, engine: FakeEngine) -> None:
    listen = tmp_path / "guard.sock"
    for _ in range(2):
        async with guarding(listen, engine.place, IMAGE, GuardLimits()):
            assert stat.S_IMODE(listen.stat().st_mode) == 0o660
        assert not listen.exists()


async def test_a_socket_that_a_killed_guard_left_is_replaced_but_no_other_file(
    tmp_path: Path, engine: FakeEngine
) -> None:
    left, file = tmp_path / "left.sock", tmp_path / "file"
    (await asyncio.start_unix_server(lambda *_: None, left)).close()
    file.write_text("keep")

    async with guarding(left, engine.place, IMAGE, GuardLimits()):
        pass
    with pytest.raises(SandboxError, match="cannot listen"):
        async with guarding(file, engine.place, IMAGE, GuardLimits()):
            pass

    assert file.read_text() == "keep"
