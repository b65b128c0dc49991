"""What a lease gives its holder: times of the sandbox's own, and word of its place while all is full."""

from __future__ import annotations

import asyncio

import pytest

from sandbox.records import IdleTimes
from tests.doubles.clock import Clock
from tests.doubles.process_engine import ProcessEngine
from tests.integration.test_service import output, service


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def test_a_sandbox_may_have_times_of_its_own_and_keeps_them(process_engine: ProcessEngine, clock: Clock) -> None:
    async with service(process_engine, clock) as sandboxes:
        async with sandboxes.lease("long", times=IdleTimes(pause_seconds=500, save_seconds=1000)) as lease:
            await output(lease, "1")
        async with sandboxes.lease("short", times=IdleTimes(save_seconds=35, retention_seconds=50)) as lease:
            await output(lease, "1")
        clock.now = 40
        await sandboxes.reaper.reap()
        kept = sandboxes.entries["long"].sandbox
        assert kept is not None and not kept.is_paused
        assert list(sandboxes.entries) == ["long"]

        clock.now = 700
        async with sandboxes.lease("long") as lease:
            assert (await lease.arrive()).kind == "live"
        await sandboxes.reaper.reap()
        async with sandboxes.lease("short") as lease:
            arrival = await lease.arrive()

        assert arrival.kind == "new"
        assert "not used for" in arrival.notice


async def test_a_thread_that_comes_back_while_all_is_full_is_told_its_place(
    process_engine: ProcessEngine, clock: Clock
) -> None:
    async with service(process_engine, clock, most=1) as sandboxes:
        async with sandboxes.lease("back") as lease:
            await output(lease, "x = 41")
            await lease.put_away()
        waiting = asyncio.Event()
        places: list[int] = []

        async def come_back() -> str:
            async with sandboxes.lease("back") as lease:
                lease.on_waiting = lambda before: (places.append(before), waiting.set())[-1]
                await lease.arrive()
                return await output(lease, "print(x)")

        async with sandboxes.lease("busy") as busy:
            await busy.sandbox()
            coming = asyncio.ensure_future(come_back())
            await waiting.wait()
        printed = await coming

        assert places == [0]
        assert printed == "41\n"
