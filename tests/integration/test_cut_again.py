"""Cuts at bad moments: beside a transfer, with a slow reader, while somebody leaves, in a save, twice in a row."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import pytest

from sandbox import Display, Limits, Output, RunEvent, Sandbox
from sandbox.blobs import Blobs
from sandbox.channel import Channel
from sandbox.errors import SandboxError
from sandbox.inside.frames import Frame
from sandbox.records import MemoryRecords
from sandbox.service import SandboxService, ServiceSettings
from sandbox.snapshot import Snapshots
from tests.contracts.runs import outcome, run, text
from tests.doubles.faulty_engine import CutSent, FaultyEngine, Refusal, Slow
from tests.doubles.process_engine import ProcessEngine
from tests.doubles.watched_site import NO_ANSWER

COUNTS = "import time\nfor number in range(20): print(number, flush=True); time.sleep(0.02)"
NUMBERS = "".join(f"{number}\n" for number in range(20))


@pytest.fixture
async def engine(process_engine: ProcessEngine) -> FaultyEngine:
    return FaultyEngine(process_engine)


@pytest.fixture
async def box(engine: FaultyEngine) -> AsyncIterator[Sandbox]:
    """With the variable x in it, which is lost if its container is."""
    box = await Sandbox.start(engine, f"cut-{os.urandom(4).hex()}", Limits(timeout_seconds=10, interrupt_seconds=0.5))
    await run(box, "x = 41")
    yield box
    await box.remove()


async def _all(reading: AsyncIterator[RunEvent]) -> list[RunEvent]:
    return [event async for event in reading]


async def keeps_all(box: Sandbox, engine: FaultyEngine) -> bool:
    return text(await run(box, "print(x)")) == "41\n" and engine.made == 1


async def test_a_reader_that_is_slow_over_two_cuts_misses_nothing(box: Sandbox, engine: FaultyEngine) -> None:
    reading = box.run(COUNTS)
    events: list[RunEvent] = [await anext(reading)]
    for name in ("a", "b"):
        engine.wires[-1].cut()
        await box.put_file(name, b"x")  # which makes the stream anew, and not the reader

    events += [event async for event in reading]

    assert text(events) == NUMBERS
    assert outcome(events).status == "ok"


async def test_who_finds_the_cut_may_leave_in_the_turn_of_the_welcome(
    box: Sandbox, engine: FaultyEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = box.run(COUNTS)
    events: list[RunEvent] = [await anext(reading)]
    leaving: list[asyncio.Future[None]] = []
    welcomed = Channel._welcomed

    def leave(channel: Channel, frame: Frame) -> None:
        welcomed(channel, frame)
        for task in leaving:
            task.cancel()

    monkeypatch.setattr(Channel, "_welcomed", leave)
    engine.wires[-1].cut()
    leaving.append(asyncio.ensure_future(box.put_file("a", b"x")))
    await asyncio.wait(leaving)

    events += [event async for event in reading]

    assert leaving[0].cancelled()
    assert text(events) == NUMBERS


async def test_a_reader_that_leaves_while_the_stream_is_made_anew_costs_no_sandbox(
    box: Sandbox, engine: FaultyEngine
) -> None:
    begun = asyncio.Event()

    async def read() -> None:
        async for event in box.run("print('go', flush=True)\nwhile True: pass"):
            if isinstance(event, Output):
                begun.set()

    reading = asyncio.ensure_future(read())
    await begun.wait()
    engine.script("attach", Slow(seconds=0.2))
    engine.wires[-1].cut()
    await engine.met.wait()
    reading.cancel()
    await asyncio.wait([reading])

    assert await keeps_all(box, engine)


async def test_a_transfer_waits_for_the_stream_that_a_cell_makes_anew(box: Sandbox, engine: FaultyEngine) -> None:
    reading = box.run(COUNTS)
    events: list[RunEvent] = [await anext(reading)]
    engine.script("attach", Slow(seconds=0.1))
    engine.wires[-1].cut()
    cell = asyncio.ensure_future(_all(reading))  # not the next event alone: that may have come before the cut
    await engine.met.wait()

    await box.put_file("a", b"data")
    events += await cell

    assert text(events) == NUMBERS
    assert await box.get_file("a", limit_bytes=10) == b"data"


async def test_a_request_that_is_asked_anew_may_be_cut_once_more(
    box: Sandbox, engine: FaultyEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    welcomed = Channel._welcomed
    cuts = 1

    def cut(channel: Channel, frame: Frame) -> None:
        nonlocal cuts
        welcomed(channel, frame)
        if cuts:
            cuts -= 1
            engine.wires[-1].cut()

    engine.wires[-1].breaks(CutSent(after_bytes=20))
    monkeypatch.setattr(Channel, "_welcomed", cut)

    assert await keeps_all(box, engine)


async def test_a_stop_before_the_code_has_reached_the_sandbox_begins_nothing(
    box: Sandbox, engine: FaultyEngine
) -> None:
    engine.wires[-1].breaks(CutSent(after_bytes=20))
    engine.script("attach", Slow(seconds=0.2))

    async def stop() -> None:
        await engine.met.wait()
        box.interrupt()

    stopping = asyncio.ensure_future(stop())
    events = await run(box, "open('begun', 'w').close()")
    await stopping

    assert outcome(events).status == "interrupted"
    assert text(await run(box, "ls", "bash")) == ""


async def test_an_engine_that_refuses_an_attach_says_nothing_of_the_container(
    box: Sandbox, engine: FaultyEngine
) -> None:
    engine.wires[-1].cut()
    engine.script("attach", Refusal(error=SandboxError("500 Server Error")), Refusal(error=NO_ANSWER))

    assert await keeps_all(box, engine)


async def test_a_save_that_is_cut_in_the_variables_is_made_again_with_all_of_them(
    box: Sandbox, engine: FaultyEngine
) -> None:
    await run(box, "import time\nclass Slow:\n def __reduce__(self): time.sleep(0.2); return int, ()")
    await run(box, "for name in 'abcdefghij': globals()[name] = Slow()")
    saving = asyncio.ensure_future(Snapshots(Blobs.at("memory://")).save(box, "state/a"))
    received = engine.wires[-1].received
    while engine.wires[-1].received == received:  # the files have come
        await asyncio.sleep(0.01)
    engine.wires[-1].cut()

    summary, _ = await saving

    assert {*"abcdefghij", "x"} <= set(summary.variables)
    assert summary.lost == ()


async def test_a_run_beside_one_of_an_earlier_host_is_refused_and_ends_nothing(
    box: Sandbox, engine: FaultyEngine
) -> None:
    box.leave_running = True
    reading = box.run("print('go', flush=True)\nimport time; time.sleep(0.5)\nprint('end')", request_id="r")
    await anext(reading)
    await reading.aclose()
    box.detach()
    second = await Sandbox.attach(engine, box.container_id, box.limits, epoch=box.epoch + 1, nonce=box.nonce)

    with pytest.raises(SandboxError, match="busy"):
        await run(second, "1")
    seen = [event async for event in second.resume("r")]
    again = [event async for event in second.resume("r")]

    assert text(seen).endswith("end\n")
    assert outcome(again).status == "ok"
    assert not [event for event in again if isinstance(event, Display)]
    await second.remove()


async def test_a_process_whose_sandbox_another_took_over_says_so_and_takes_nothing_from_it(
    process_engine: ProcessEngine,
) -> None:
    """Two processes at once, where an old one has not ended yet."""
    records = MemoryRecords()
    settings = ServiceSettings(on_exit="leave")
    async with SandboxService(process_engine, records=records, settings=settings) as old:
        async with old.lease("a") as lease:
            assert [event async for event in lease.run("x = 41")]
        async with SandboxService(process_engine, records=records, settings=settings) as new:
            async with new.lease("a") as lease:
                assert (await lease.arrive()).kind == "live"
            async with old.lease("a") as lease:
                with pytest.raises(SandboxError, match="Another process uses this sandbox"):
                    await lease.arrive()
            kept = await records.get("a")
            async with new.lease("a") as lease:
                events = [event async for event in lease.run("print(x)")]

    assert kept is not None and kept.epoch == 2
    assert text(events) == "41\n"
    assert len(await process_engine.containers()) == 1
