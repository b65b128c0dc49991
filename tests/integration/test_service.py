"""The sandbox service: leases, idleness, eviction, orphans. On the engine without Docker, with its faults."""

from __future__ import annotations

import asyncio

import pytest

from sandbox import Limits, Outcome, Output, SandboxError
from sandbox.errors import EngineUnavailable
from sandbox.service import Lease, SandboxService, ServiceSettings
from tests.doubles.process_engine import ProcessEngine


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def service(engine: ProcessEngine, clock: Clock, most: int = 2) -> SandboxService:
    settings = ServiceSettings(max_sandboxes=most, idle_seconds=60, reap_every_seconds=3600)
    return SandboxService(engine, limits=Limits(timeout_seconds=10), settings=settings, clock=clock)


async def output(lease: Lease, code: str) -> str:
    return "".join([event.text async for event in lease.run(code) if isinstance(event, Output)])


async def test_a_key_keeps_its_sandbox_from_lease_to_lease(process_engine: ProcessEngine, clock: Clock) -> None:
    async with service(process_engine, clock) as sandboxes:
        async with sandboxes.lease("a") as lease:
            assert lease.is_new
            await output(lease, "x = 1")
        async with sandboxes.lease("a") as lease:
            assert not lease.is_new
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


async def test_only_what_is_idle_long_enough_is_reaped(process_engine: ProcessEngine, clock: Clock) -> None:
    async with service(process_engine, clock) as sandboxes:
        async with sandboxes.lease("old") as lease:
            await lease.sandbox()
        clock.now = 40
        async with sandboxes.lease("young") as lease:
            await lease.sandbox()
        clock.now = 70
        async with sandboxes.lease("busy"):
            await sandboxes.reap()

        assert sandboxes.live == 1
        async with sandboxes.lease("old") as lease:
            assert lease.is_new
        async with sandboxes.lease("young") as lease:
            assert not lease.is_new


async def test_a_busy_sandbox_is_never_reaped(process_engine: ProcessEngine, clock: Clock) -> None:
    async with service(process_engine, clock) as sandboxes, sandboxes.lease("a") as lease:
        await output(lease, "x = 1")
        clock.now = 10_000
        await sandboxes.reap()

        assert await output(lease, "print(x)") == "1\n"


async def test_the_longest_idle_makes_room(process_engine: ProcessEngine, clock: Clock) -> None:
    async with service(process_engine, clock) as sandboxes:
        for moment, key in enumerate(("a", "b", "c")):
            clock.now = float(moment)
            async with sandboxes.lease(key) as lease:
                await lease.sandbox()

        assert sandboxes.live == 2
        async with sandboxes.lease("a") as lease:
            assert lease.is_new
        async with sandboxes.lease("b") as lease:
            assert not lease.is_new


async def test_when_all_are_busy_it_is_said(process_engine: ProcessEngine, clock: Clock) -> None:
    async with service(process_engine, clock, most=1) as sandboxes, sandboxes.lease("a") as first:
        await first.sandbox()
        async with sandboxes.lease("b") as second:
            with pytest.raises(SandboxError, match="All 1 sandboxes are busy"):
                await second.sandbox()


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
            assert lease.is_new
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
        await sandboxes.reap()
        assert len(await process_engine.containers()) == 1
        await sandboxes.reap()

        assert await process_engine.containers() == []


async def test_a_start_that_is_cancelled_leaves_nothing(process_engine: ProcessEngine, clock: Clock) -> None:
    async with service(process_engine, clock) as sandboxes:

        async def use() -> None:
            async with sandboxes.lease("a") as lease:
                await lease.sandbox()

        task = asyncio.ensure_future(use())
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert await process_engine.containers() == []


async def test_messages_that_race_the_reaper_lose_nothing(process_engine: ProcessEngine, clock: Clock) -> None:
    """A message and the reaper race: whoever wins, the cell runs in a live sandbox and its outcome is told."""
    async with service(process_engine, clock) as sandboxes:
        async with sandboxes.lease("a") as lease:
            await output(lease, "n = 0")

        async def use() -> Outcome:
            async with sandboxes.lease("a") as lease:
                events = [event async for event in lease.run("n = globals().get('n', 0) + 1")]
            assert isinstance(events[-1], Outcome)
            return events[-1]

        for round_number in range(20):
            clock.now += 61
            end, _ = await asyncio.gather(use(), sandboxes.reap())
            assert end.status == "ok", round_number
