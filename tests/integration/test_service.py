"""The sandbox service: leases, idleness, eviction, orphans. On the engine without Docker; what is a case of the hostile
suite on containers too."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from sandbox import Engine, Limits, Output, Waiting
from sandbox.admission import AdmissionSettings
from sandbox.errors import EngineUnavailable, TooManyWait
from sandbox.lease import Lease
from sandbox.reaper import LifeSettings
from sandbox.service import SandboxService, ServiceSettings
from tests.doubles.clock import Clock
from tests.doubles.process_engine import ProcessEngine


@pytest.fixture
def clock() -> Clock:
    return Clock()


def service(engine: Engine, clock: Clock, most: int = 2, wait: float = 10) -> SandboxService:
    settings = ServiceSettings(
        admission=AdmissionSettings(sandboxes=most, wait_seconds=wait, free_mib=0),
        life=LifeSettings(pause_seconds=30, save_seconds=60, reap_every_seconds=3600),
    )
    return SandboxService(engine, limits=Limits(timeout_seconds=10), settings=settings, clock=clock, now=clock)


async def output(lease: Lease, code: str) -> str:
    return "".join([event.text async for event in lease.run(code) if isinstance(event, Output)])


async def test_a_key_keeps_its_sandbox_from_lease_to_lease(process_engine: ProcessEngine, clock: Clock) -> None:
    async with service(process_engine, clock) as sandboxes:
        async with sandboxes.lease("a") as lease:
            assert not lease.has_state
            await output(lease, "x = 1")
        async with sandboxes.lease("a") as lease:
            assert lease.has_state
            assert await output(lease, "print(x)") == "1\n"
    assert await process_engine.containers() == []


async def test_a_lease_that_runs_nothing_makes_no_container(process_engine: ProcessEngine, clock: Clock) -> None:
    async with service(process_engine, clock) as sandboxes, sandboxes.lease("a"):
        assert sandboxes.live == 0


async def test_a_second_holder_waits_for_the_first(process_engine: ProcessEngine, clock: Clock) -> None:
    order: list[int] = []
    async with service(process_engine, clock) as sandboxes:

        async def hold(number: int) -> None:
            async with sandboxes.lease("a"):
                order.append(number)
                await asyncio.sleep(0.02)
                order.append(number)

        await asyncio.gather(*(hold(number) for number in range(3)))

    assert order == [0, 0, 1, 1, 2, 2]


async def test_two_messages_at_once_in_a_thread_share_one_container(engine: Engine, clock: Clock) -> None:
    """Case 42."""
    async with service(engine, clock) as sandboxes:

        async def use() -> str:
            async with sandboxes.lease("a") as lease:
                return await output(lease, "n = globals().get('n', 0) + 1; print(n)")

        counts = await asyncio.gather(use(), use())

        assert sorted(counts) == ["1\n", "2\n"]
        assert len(await engine.containers()) == 1


async def test_only_what_is_idle_long_enough_is_reaped(process_engine: ProcessEngine, clock: Clock) -> None:
    async with service(process_engine, clock) as sandboxes:
        async with sandboxes.lease("old") as lease:
            await lease.sandbox()
        clock.now = 40
        async with sandboxes.lease("young") as lease:
            await lease.sandbox()
        clock.now = 70
        async with sandboxes.lease("busy"):
            await sandboxes.reaper.reap()

        assert sandboxes.live == 1
        async with sandboxes.lease("old") as lease:
            assert (await lease.arrive()).kind == "restored"
        async with sandboxes.lease("young") as lease:
            assert (await lease.arrive()).kind == "live"


async def test_a_busy_sandbox_is_never_reaped(engine: Engine, clock: Clock) -> None:
    """Case 44."""
    async with service(engine, clock) as sandboxes, sandboxes.lease("a") as lease:
        await output(lease, "x = 1")
        clock.now = 10_000
        await sandboxes.reaper.reap()

        assert await output(lease, "print(x)") == "1\n"


async def test_the_longest_idle_makes_room(process_engine: ProcessEngine, clock: Clock) -> None:
    async with service(process_engine, clock) as sandboxes:
        for moment, key in enumerate(("a", "b", "c")):
            clock.now = float(moment)
            async with sandboxes.lease(key) as lease:
                await output(lease, "x = 1")

        assert sandboxes.live == 2
        async with sandboxes.lease("b") as lease:
            assert (await lease.arrive()).kind == "live"
        async with sandboxes.lease("a") as lease:
            assert (await lease.arrive()).kind == "restored"


async def test_when_all_are_busy_a_cell_waits_its_turn_and_says_its_place(engine: Engine, clock: Clock) -> None:
    """Case 48."""
    async with service(engine, clock, most=1) as sandboxes:
        places: dict[str, list[int]] = {}
        ended: list[str] = []
        begun = asyncio.Event()

        async def use(key: str, code: str) -> None:
            async with sandboxes.lease(key) as lease:
                async for event in lease.run(code):
                    if isinstance(event, Output):
                        begun.set()
                    if isinstance(event, Waiting):
                        places.setdefault(key, []).append(event.before)
            ended.append(key)

        until = "print(1, flush=True)\nimport os, time\nwhile not os.path.exists('go'): time.sleep(0.01)"
        first = asyncio.ensure_future(use("a", until))
        await begun.wait()
        others = [asyncio.ensure_future(use(key, "1")) for key in ("b", "c")]
        while len(places) < 2:
            await asyncio.sleep(0.01)
        running = sandboxes.entries["a"].sandbox
        assert running is not None
        await running.put_file("go", b"")
        await asyncio.gather(first, *others)

        assert ended == ["a", "b", "c"]
        assert places == {"b": [0], "c": [1, 0]}


async def test_who_waits_too_long_is_told(process_engine: ProcessEngine, clock: Clock) -> None:
    async with service(process_engine, clock, most=1, wait=0) as sandboxes, sandboxes.lease("a") as first:
        await first.sandbox()
        async with sandboxes.lease("b") as second:
            with pytest.raises(TooManyWait, match="No sandbox was free"):
                await output(second, "1")


async def test_what_an_earlier_process_left_is_removed_at_start(process_engine: ProcessEngine, clock: Clock) -> None:
    await process_engine.create("left", Limits())

    async with service(process_engine, clock):
        assert await process_engine.containers() == []


async def test_a_sandbox_that_died_is_replaced(process_engine: ProcessEngine, clock: Clock) -> None:
    async with service(process_engine, clock) as sandboxes:
        async with sandboxes.lease("a") as lease:
            await output(lease, "x = 1")
            await process_engine.remove((await process_engine.containers())[0].container_id)
            await asyncio.sleep(0.1)
        async with sandboxes.lease("a") as lease:
            assert (await lease.arrive()).notice == "The sandbox ended while nobody used it."
            assert await output(lease, "print(2)") == "2\n"
        assert sandboxes.live == 1


async def test_a_removal_that_fails_stops_neither_the_reaper_nor_the_next_try(
    process_engine: ProcessEngine, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove = process_engine.remove
    fails = [EngineUnavailable()]

    async def failing(container_id: str) -> None:
        if fails:
            raise fails.pop()
        await remove(container_id)

    async with service(process_engine, clock) as sandboxes:
        for key in ("a", "b"):
            async with sandboxes.lease(key) as lease:
                await lease.sandbox()
        clock.now = 100
        monkeypatch.setattr(process_engine, "remove", failing)
        with capture_logs():  # a pretty traceback takes longer than the test
            await sandboxes.reaper.reap()
        assert len(await process_engine.containers()) == 1
        await sandboxes.reaper.reap()

        assert await process_engine.containers() == []


async def test_a_start_that_is_cancelled_leaves_nothing(process_engine: ProcessEngine, clock: Clock) -> None:
    async with service(process_engine, clock) as sandboxes:

        async def use() -> None:
            async with sandboxes.lease("a") as lease:
                await lease.sandbox()

        task = asyncio.ensure_future(use())
        while not await process_engine.containers():
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert await process_engine.containers() == []


async def test_messages_that_race_the_reaper_lose_nothing(engine: Engine, clock: Clock) -> None:
    """Case 43: a message and the reaper race: whoever wins, the cell runs in a live sandbox and its outcome is told."""
    holders: set[str] = set()
    async with service(engine, clock) as sandboxes:

        async def use() -> str:
            async with sandboxes.lease("a") as lease:
                printed = await output(lease, "n = globals().get('n', 0) + 1; print(n)")
                holders.add((await lease.sandbox()).container_id)
                return printed

        counts: list[str] = []
        for round_number in range(6):
            clock.now += 61
            racers = [use(), sandboxes.reaper.reap()]  # who begins has the lock
            told = await asyncio.gather(*(racers if round_number % 2 else reversed(racers)))
            counts += [count for count in told if count]

        assert counts == [f"{number}\n" for number in range(1, 7)]
        assert len(holders) > 1  # the reaper has won, too
