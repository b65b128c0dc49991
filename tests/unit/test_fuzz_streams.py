"""Whatever bytes come, and in whatever order: the host takes what fits, drops the rest and never raises."""

from __future__ import annotations

import asyncio
import json
import random
import tracemalloc
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox import Cut, Display, Limits, Outcome, Output, Sandbox
from sandbox import channel as channels
from sandbox.channel import FIRST_TUNNEL, Channel, Stream
from sandbox.errors import SandboxError, SandboxGone
from sandbox.events import Displays
from sandbox.inside.frames import MAX_PAYLOAD, Frame, Kind, encode
from tests.doubles.clock import VirtualTime
from tests.doubles.hostile_frames import EPOCH, frames, payloads, pieces
from tests.doubles.scripted_box import BoxWire, ScriptedBox, ScriptedEngine

WELCOME = {"boot": "b", "last_stream": 0, "running": None, "last_run": None, "oldest": 1, "python": "3"}


class Lines:
    """A wire whose other end is the test."""

    def __init__(self) -> None:
        self.feed: Callable[[bytes], None] = lambda data: None

    def write(self, data: bytes) -> None:
        pass

    async def drain(self) -> None:
        pass

    def receive(self, on_data: Callable[[bytes], None], on_end: Callable[[], None]) -> None:
        self.feed = on_data

    def close(self) -> None:
        pass


def ran(
    work: Coroutine[Any, Any, None], loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
) -> None:
    """Run it; what is raised in a callback of the loop counts."""
    raised: list[dict[str, Any]] = []
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.get_loop().set_exception_handler(lambda _, context: raised.append(context))
        runner.run(work)
    assert raised == []


async def greeted() -> tuple[Lines, Channel, Stream]:
    """A channel that was welcomed, and a stream on it: number 1."""
    wire = Lines()
    channel = Channel(wire, epoch=EPOCH, nonce="n")
    hello = asyncio.ensure_future(channel.hello())
    await asyncio.sleep(0)
    wire.feed(encode(Kind.WELCOME, 0, json.dumps(WELCOME).encode(), epoch=EPOCH))
    await hello
    return wire, channel, channel.open({"op": "x"})


async def read(stream: Stream) -> AsyncIterator[Frame]:
    """What has come and the reader has not had, to the END or the end of the channel."""
    try:
        async for frame in stream.frames():
            yield frame
    except SandboxGone:
        return


def numbered(seq: int, payload: bytes, kind: Kind = Kind.STDOUT) -> bytes:
    return encode(kind, 1, payload, epoch=EPOCH, seq=seq)


numbers = st.sampled_from([0, 1, 2, 3, FIRST_TUNNEL, 2**32 - 1])
hostile = pieces(frames(payloads(WELCOME, {"host": "h", "port": 1, "credit": 1}), numbers, Kind.WELCOME))


@given(hostile)
def test_the_host_takes_any_bytes_after_the_welcome(data: list[bytes]) -> None:
    async def work() -> None:
        wire, channel, stream = await greeted()
        for piece in data:
            wire.feed(piece)
        await used(channel, stream)

    ran(work())


@given(hostile)
def test_the_host_takes_any_bytes_for_a_welcome(data: list[bytes]) -> None:
    async def work() -> None:
        wire = Lines()
        channel = Channel(wire, epoch=EPOCH, nonce="n")
        hello = asyncio.ensure_future(channel.hello())
        await asyncio.sleep(0)
        for piece in data:
            wire.feed(piece)
        await asyncio.sleep(0)
        if hello.done() and hello.exception() is None:
            await used(channel, channel.adopted)
        channel.close()
        await asyncio.gather(hello, return_exceptions=True)

    ran(work())


async def used(channel: Channel, stream: Stream | None) -> None:
    """Whatever a channel has heard, its owner can go on, or is told that it is over."""
    try:
        other = channel.open({"op": "x"})
        for each in (stream, other):
            if each is not None:
                each.interrupt()
                each.credit(1)
                await each.send(b"body")
                each.finish()
    except SandboxGone:
        assert channel.gone.is_set()
    await asyncio.sleep(0)  # what was queued is written
    channel.close()


@given(st.lists(st.integers(1, 12), max_size=40), st.integers(1, 12))
def test_frames_that_come_twice_or_too_early_are_read_once_and_in_order(order: list[int], count: int) -> None:
    async def work() -> None:
        wire, _, stream = await greeted()
        seen = 0
        for seq in (*order, *range(1, count + 1)):
            wire.feed(numbered(seq, b"%d" % seq))
            seen += seq == seen + 1
        wire.feed(numbered(seen + 1, b"{}", Kind.END))

        got = [int(frame.payload) async for frame in read(stream) if frame.kind is Kind.STDOUT]

        assert got == list(range(1, seen + 1))
        assert seen >= count

    ran(work())


@pytest.mark.parametrize("size", [0, 1000, MAX_PAYLOAD])
def test_what_nobody_reads_ends_the_channel_at_its_bound(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "STREAM_BYTES", 1 << 20)

    async def work() -> None:
        wire, channel, stream = await greeted()
        sent = 0
        while not channel.gone.is_set():
            sent += 1
            wire.feed(numbered(sent, bytes(size)))
            assert sent * max(size, 1) <= (1 << 20) + MAX_PAYLOAD
        wire.feed(numbered(sent + 1, bytes(size)))

        assert len([frame async for frame in read(stream)]) <= sent

    ran(work())


# ---- a run that reads what is forged


class LyingBox(ScriptedBox):
    """Answers a cell with what a test says, and mostly with no end."""

    lies: tuple[tuple[Kind, bytes], ...] = ()

    def _complete(self, stream: int, op: str, body: bytes) -> None:
        for kind, payload in self.lies:
            self._numbered(kind, stream, payload)


class LyingEngine(ScriptedEngine):
    def __init__(self, lies: list[tuple[Kind, bytes]]) -> None:
        super().__init__()
        self._lies = tuple(lies)

    async def create(self, sandbox_id: str, limits: Limits) -> tuple[str, BoxWire]:
        box = self.boxes[sandbox_id] = LyingBox(sandbox_id, random.Random(0))
        box.lies = self._lies
        return sandbox_id, await self.attach(sandbox_id)


END = {"status": "ok", "exit_code": 0, "cpu_ms": 1, "duration_ms": 1, "memory": 1, "error": {}, "files": []}
lies = st.tuples(
    st.sampled_from([Kind.STDOUT, Kind.STDERR, Kind.DISPLAY, Kind.DATA, Kind.NOTE, Kind.END, Kind.CREDIT]),
    payloads(END, {"mimes": [["text/plain", 3]]}, {"cut": 1}, {"starts": 1}),
)


@given(st.lists(lies, max_size=8))
def test_a_run_tells_of_forged_frames_events_or_that_the_sandbox_failed(forged: list[tuple[Kind, bytes]]) -> None:
    async def work() -> None:
        sandbox = await Sandbox.start(LyingEngine(forged), "liar", Limits(timeout_seconds=1))
        try:
            events = [event async for event in sandbox.run("1")]
        except SandboxError:
            return
        finally:
            await sandbox.remove()

        assert isinstance(events[-1], Outcome)
        assert {type(event) for event in events} <= {Output, Display, Cut, Outcome}

    ran(work(), VirtualTime)


def test_a_display_that_is_announced_larger_than_any_is_not_gathered() -> None:
    display, size = Displays(), 200_000_000_000
    display.announce(Frame(Kind.DISPLAY, 1, 1, 1, json.dumps({"mimes": [["image/png", size]]}).encode()))
    body = Frame(Kind.DATA, 1, 1, 2, bytes(MAX_PAYLOAD))
    tracemalloc.start()
    shown = [display.body(body) for _ in range(500)]
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert not any(shown)
    assert most < 1 << 20
