"""The stream between host and sandbox, whichever engine carries it: cut anywhere, taken over, stopped at any moment."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from sandbox import Display, Engine, Limits, Output, RunEvent, Sandbox
from sandbox.channel import Channel, Stream, decode_json, end_of
from sandbox.engine import DockerEngine
from sandbox.errors import SandboxGone
from sandbox.inside.frames import Kind
from tests.contracts.runs import outcome, run, text
from tests.doubles.faulty_engine import Cut, CutSent, FaultyEngine, FaultyWire
from tests.quick import rounds

pytestmark = pytest.mark.asyncio(loop_scope="module")

CELL = "n += 1\nprint('n is', n)\nfrom IPython.display import HTML, display\ndisplay(HTML('<b>n</b>'))\nprint('end')"
STOPS = rounds(1000)


class Line:
    """A sandbox on wires that can be cut; its variable `n` counts how often a cell was run."""

    def __init__(self, engine: FaultyEngine, sandbox: Sandbox, every: int) -> None:
        self.engine = engine
        self.sandbox = sandbox
        self.every = every
        """Which of the bytes and stops are tried."""
        self.is_gvisor = False
        self.count = 0

    @property
    def wire(self) -> FaultyWire:
        return self.engine.wires[-1]

    async def counts_once(self) -> None:
        """Run the cell: it is run, printed and displayed once, whatever happens to its stream."""
        self.count += 1
        events = await run(self.sandbox, CELL)

        assert outcome(events).status == "ok"
        assert text(events) == f"n is {self.count}\nend\n"
        assert len([event for event in events if isinstance(event, Display)]) == 1

    async def bytes_of_a_cell(self) -> tuple[int, int]:
        """To and from the container."""
        before = self.wire.sent, self.wire.received
        await self.counts_once()
        return self.wire.sent - before[0], self.wire.received - before[1]


@pytest_asyncio.fixture(loop_scope="module")
async def line(engine: Engine) -> AsyncIterator[Line]:
    faulty = FaultyEngine(engine)
    sandbox = await Sandbox.start(faulty, f"line-{os.urandom(4).hex()}", Limits(timeout_seconds=20))
    await run(sandbox, "n = 0")
    # all of them on Docker; elsewhere, where each costs the most or the suite has the least time, some
    is_gvisor = isinstance(engine, DockerEngine) and engine.is_gvisor
    line = Line(faulty, sandbox, every=1 if isinstance(engine, DockerEngine) and not is_gvisor else 5)
    line.is_gvisor = is_gvisor
    yield line
    await line.sandbox.remove()


@pytest.mark.thorough
async def test_a_stream_cut_at_any_byte_from_the_sandbox_costs_nothing_and_runs_nothing_twice(line: Line) -> None:
    _, received = await line.bytes_of_a_cell()

    for after in range(1, received + 1, line.every):
        line.wire.breaks(Cut(after_bytes=after))
        await line.counts_once()

    assert len(line.engine.wires) > received / line.every * 0.9


@pytest.mark.thorough
async def test_a_stream_cut_at_any_byte_to_the_sandbox_costs_nothing_and_runs_nothing_twice(line: Line) -> None:
    sent, _ = await line.bytes_of_a_cell()

    for after in range(0, sent, line.every):
        line.wire.breaks(CutSent(after_bytes=after))
        await line.counts_once()

    assert len(line.engine.wires) > sent / line.every * 0.9


@pytest.mark.parametrize("after", [0, 1, 37, 90, 200])
async def test_a_stream_cut_again_while_it_is_made_anew_is_made_once_more(line: Line, after: int) -> None:
    line.wire.breaks(Cut(after_bytes=20))
    line.engine.greets_with(CutSent(after_bytes=0) if after == 0 else Cut(after_bytes=after))

    await line.counts_once()

    assert len(line.engine.wires) == 3


async def test_files_cross_a_cut_in_the_middle_of_them(line: Line) -> None:
    data = os.urandom(300_000)

    line.wire.breaks(CutSent(after_bytes=150_000))
    await line.sandbox.put_file("a.bin", data)
    line.wire.breaks(Cut(after_bytes=150_000))
    back = await line.sandbox.get_file("a.bin", limit_bytes=1 << 20)

    assert back == data
    assert ".upload" not in text(await run(line.sandbox, "ls -A", "bash"))


async def test_a_stop_that_a_cut_swallowed_is_sent_again(line: Line) -> None:
    events: list[RunEvent] = []
    async for event in line.sandbox.run("print(1, flush=True)\nwhile True: pass"):
        events.append(event)
        if isinstance(event, Output) and event.text == "1\n":
            line.wire.breaks(CutSent(after_bytes=3))
            line.sandbox.interrupt()

    assert outcome(events).status == "interrupted"
    assert outcome(events).variables_kept
    await line.counts_once()


async def test_a_second_host_takes_over_a_running_cell_and_the_first_is_told_and_removes_nothing(line: Line) -> None:
    first = line.sandbox
    reading = first.run("print('before', flush=True)\nimport time; time.sleep(0.5)\nprint('after')", request_id="a")
    told: list[RunEvent] = [await anext(reading)]

    second = await Sandbox.attach(
        line.engine, first.container_id, first.limits, epoch=first.epoch + 1, nonce=first.nonce
    )
    line.sandbox = second
    seen = [event async for event in second.resume("a")]
    told += [event async for event in reading]
    with pytest.raises(SandboxGone):
        await run(first, "n = 100")
    await first.remove()

    assert text(seen) == "before\nafter\n"
    assert outcome(seen).status == "ok"
    assert (outcome(told).status, outcome(told).sandbox_lost) == ("lost", True)
    await line.counts_once()


async def test_a_cell_whose_host_leaves_goes_on_for_the_next_although_somebody_still_reads(line: Line) -> None:
    first = line.sandbox
    reading = first.run("print('before', flush=True)\nimport time; time.sleep(0.3)\nprint('after')", request_id="b")
    told: list[RunEvent] = [await anext(reading)]

    first.detach()
    told += [event async for event in reading]
    line.sandbox = await Sandbox.attach(
        line.engine, first.container_id, first.limits, epoch=first.epoch + 1, nonce=first.nonce
    )
    seen = [event async for event in line.sandbox.resume("b")]

    assert outcome(told).sandbox_lost
    assert outcome(seen).status == "ok"
    assert text(seen).endswith("after\n")
    await line.counts_once()


async def test_a_host_with_another_nonce_gets_no_answer_and_disturbs_nobody(line: Line) -> None:
    stranger = Channel(await line.engine.attach(line.sandbox.container_id), epoch=1 << 30, nonce="a guess")
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.2):
            await stranger.hello(again=True)
    stranger.close()

    await line.counts_once()


async def test_a_thousand_stops_around_the_end_of_a_cell_keep_interpreter_and_variables(line: Line) -> None:
    await run(line.sandbox, "import os; kept, pid = 'kept', os.getpid()")
    ends: list[str] = []
    lost: list[object] = []
    for number in range(0, STOPS, line.every):
        stream = await opened(line.sandbox._attachment.channel, line.sandbox.boot, f"stop-{number}", f"last = {number}")
        for _ in range(number % 49):  # from before the cell begins to after it has ended
            await asyncio.sleep(0)
        stream.interrupt()
        async for frame in stream.frames():
            if end := end_of(frame):
                ends.append(end["status"])
                lost += [end] if end["kernel"] == "lost" or end["lost_before"] else []
        stream.interrupt()

    if line.is_gvisor and lost:
        return  # now and then an interpreter there misses a cell that a signal came with; it is killed, and that is told
    assert lost == []
    assert set(ends) <= {"ok", "interrupted"}
    assert len(ends) == STOPS // line.every
    assert text(await run(line.sandbox, "print(kept, pid == os.getpid())")) == "kept True\n"


async def opened(channel: Channel, boot: str, request_id: str, code: str) -> Stream:
    """A run as a host asks for it."""
    stream = channel.open(
        {"op": "run", "id": request_id, "boot": boot, "language": "python", "timeout": 20, "caps": {}}
    )
    await stream.send(code.encode())
    stream.finish()
    return stream


async def asked(channel: Channel, request_id: str) -> dict[str, object]:
    """What the supervisor says of a request."""
    stream = channel.open({"op": "outcome", "id": request_id})
    (end,) = [frame async for frame in stream.frames()]
    return decode_json(end.payload)


async def test_another_host_finds_variables_and_the_outcome_it_missed(engine: Engine) -> None:
    """The stream survives its host: a second attachment greets the same supervisor and asks for the outcome."""
    container_id, wire = await engine.create("contract-again", Limits())
    first = Channel(wire, epoch=1, nonce="n")
    boot = (await first.hello()).boot
    await opened(first, boot, "a", "import time\ntime.sleep(0.5)\nx = 5\nprint(x)")
    wire.write(b"\xf5tbx half a frame of a host that dies now")
    first.close()

    second = Channel(await engine.attach(container_id), epoch=2, nonce="n")
    welcome = await second.hello(again=True)
    end = await asked(second, "a")
    while end["status"] == "running":
        await asyncio.sleep(0.1)
        end = await asked(second, "a")
    stream = await opened(second, boot, "b", "print(x)")
    printed = b"".join([frame.payload async for frame in stream.frames() if frame.kind is Kind.STDOUT])
    second.close()
    await engine.remove(container_id)

    assert welcome.boot == boot
    assert end["status"] == "ok"
    assert printed == b"5\n"
