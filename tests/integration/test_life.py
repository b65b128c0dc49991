"""The life of an idle sandbox: paused, saved, removed, brought back, forgotten; and what a restart of the bot finds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from sandbox import Limits, Outcome, Output, RunEvent
from sandbox.admission import AdmissionSettings
from sandbox.blobs import Blobs
from sandbox.errors import BlobsUnavailable
from sandbox.lease import Lease
from sandbox.pool import PoolSettings
from sandbox.reaper import DAY, LifeSettings
from sandbox.records import MemoryRecords
from sandbox.service import OnExit, SandboxService, ServiceSettings
from sandbox.snapshot import Snapshots
from tests.doubles.clock import Clock
from tests.doubles.process_engine import ProcessEngine


class FailingBlobs(Blobs):
    """A store that can be full."""

    full = False

    async def put(self, name: str, chunks: AsyncIterator[bytes]) -> int:
        if self.full:
            raise BlobsUnavailable("no space left")
        return await super().put(name, chunks)


class World:
    """What outlives one service: the engine, the records, the store and the clock."""

    def __init__(self, engine: ProcessEngine) -> None:
        self.engine = engine
        self.records = MemoryRecords()
        self.blobs = FailingBlobs.at("memory://")
        self.clock = Clock()
        self.life = LifeSettings(
            pause_seconds=90, save_seconds=1200, reap_every_seconds=3600, forget_every_seconds=0, owner_mib=1
        )

    def service(self, *, on_exit: OnExit = "leave", warm: int = 0) -> SandboxService:
        return SandboxService(
            self.engine,
            limits=Limits(timeout_seconds=10, interrupt_seconds=0.5),
            settings=ServiceSettings(
                admission=AdmissionSettings(sandboxes=4, free_mib=0),
                pool=PoolSettings(least=warm, most=warm),
                life=self.life,
                on_exit=on_exit,
            ),
            records=self.records,
            snapshots=Snapshots(self.blobs),
            clock=self.clock,
            now=self.clock,
        )

    async def states(self) -> list[str]:
        return [container.state for container in await self.engine.containers()]


@pytest.fixture
def world(process_engine: ProcessEngine) -> World:
    return World(process_engine)


async def output(lease: Lease, code: str, request_id: str = "") -> str:
    return text([event async for event in lease.run(code, request_id=request_id)])


def text(events: list[RunEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, Output))


async def test_idle_is_paused_then_saved_and_removed_then_brought_back(world: World) -> None:
    """Case 46."""
    async with world.service() as service:
        async with service.lease("a") as lease:
            await output(lease, "x = 41")
        world.clock.now = 100
        await service.reaper.reap()
        sandbox = service.entries["a"].sandbox
        assert sandbox is not None and sandbox.is_paused
        async with service.lease("a") as lease:
            assert await output(lease, "print(x)") == "41\n"
            assert not sandbox.is_paused

        world.clock.now = 2000
        await service.reaper.reap()

        assert await world.engine.containers() == []
        assert service.entries == {}
        async with service.lease("a") as lease:
            arrival = await lease.arrive()
            assert await output(lease, "print(x + 1)") == "42\n"
        assert arrival.kind == "restored"
        assert arrival.summary is not None and arrival.summary.variables == ("x",)


async def test_a_full_store_keeps_the_sandbox_and_tries_again(world: World) -> None:
    async with world.service() as service:
        async with service.lease("a") as lease:
            await output(lease, "x = 41")
        world.blobs.full = True
        world.clock.now = 1300
        await service.reaper.reap()
        assert len(await world.engine.containers()) == 1
        world.blobs.full = False

        await service.reaper.reap()  # too early for another try
        assert len(await world.engine.containers()) == 1
        world.clock.now = 1400
        await service.reaper.reap()

        assert await world.engine.containers() == []
        async with service.lease("a") as lease:
            assert await output(lease, "print(x)") == "41\n"


async def test_a_store_that_stays_full_costs_the_state_and_the_thread_is_told(world: World) -> None:
    async with world.service() as service:
        async with service.lease("a") as lease:
            await output(lease, "x = 41")
        world.blobs.full = True
        for world.clock.now in (1300.0, 1300 + DAY + 10):
            await service.reaper.reap()

        assert await world.engine.containers() == []
        async with service.lease("a") as lease:
            arrival = await lease.arrive()
        assert arrival.kind == "new"
        assert arrival.notice == "Its variables and files could not be kept: no space left"


async def test_saved_state_is_forgotten_after_its_time_and_the_thread_is_told(world: World) -> None:
    async with world.service() as service:
        async with service.lease("a") as lease:
            await output(lease, "x = 41")
        world.clock.now = 1300
        await service.reaper.reap()
        world.clock.now += 15 * DAY
        await service.reaper.reap()

        async with service.lease("a") as lease:
            arrival = await lease.arrive()
        assert (arrival.kind, arrival.notice) == ("new", "It was not used for 14 days.")


async def test_an_owner_over_the_quota_loses_the_oldest_state(world: World) -> None:
    async with world.service() as service:
        for number, key in enumerate(("old", "new")):
            world.clock.now = float(number)
            async with service.lease(key, owner="team") as lease:
                await output(lease, "import os; x = os.urandom(700_000)")
        for world.clock.now in (1200.5, 1300.0):
            await service.reaper.reap()

        async with service.lease("new") as lease:
            assert (await lease.arrive()).kind == "restored"
        async with service.lease("old") as lease:
            arrival = await lease.arrive()
        assert arrival.notice == "Newer threads needed the space for saved variables and files."


async def test_a_reset_forgets_what_was_saved(world: World) -> None:
    async with world.service() as service:
        async with service.lease("a") as lease:
            await output(lease, "x = 41")
        world.clock.now = 1300
        await service.reaper.reap()

        async with service.lease("a") as lease:
            await lease.reset()
        async with service.lease("a") as lease:
            assert (await lease.arrive()).kind == "new"


async def test_a_restart_finds_variables_and_removes_only_orphans(world: World) -> None:
    """Case 41."""
    async with world.service() as service, service.lease("a") as lease:
        await output(lease, "x = 41")
    await world.engine.create("orphan", Limits())

    async with world.service(on_exit="remove") as service:
        assert [container.sandbox_id for container in await world.engine.containers()] != ["orphan"]
        async with service.lease("a") as lease:
            assert (await lease.arrive()).kind == "live"
            assert await output(lease, "print(x + 1)") == "42\n"
    assert await world.engine.containers() == []


@pytest.mark.parametrize("ends_first", [False, True])
async def test_a_cell_goes_on_over_a_restart_and_its_output_is_read_to_the_end(world: World, ends_first: bool) -> None:
    """The reader is cut off in the middle of a cell; the next process reads all of it, by the request's id."""
    async with world.service() as service, service.lease("a") as lease:
        code = (
            "import time\nprint('begun', flush=True)\ntime.sleep(0.3)\nn = globals().get('n', 0) + 1\nprint('done', n)"
        )
        service_leaves = asyncio.ensure_future(lease.run(code, request_id="r1").__anext__())
        assert isinstance(await service_leaves, Output)
        service.leave_running()
    if ends_first:
        await asyncio.sleep(0.5)  # no host is there to tell when it ends

    async with world.service(on_exit="remove") as service, service.lease("a") as lease:
        async with aclosing(lease.resume("r1")) as run:
            events = [event async for event in run]
        with pytest.raises(LookupError):
            await anext(lease.resume("never-run"))

        assert text(events) == "begun\ndone 1\n"
        assert isinstance(events[-1], Outcome) and events[-1].status == "ok"
        assert await output(lease, "print(n)") == "1\n"


async def test_an_outcome_that_was_read_before_is_told_again_without_its_output(world: World) -> None:
    async with world.service() as service, service.lease("a") as lease:
        await output(lease, "print('x')", "r1")
        await output(lease, "1", "r2")

    async with world.service(on_exit="remove") as service, service.lease("a") as lease:
        events = [event async for event in lease.resume("r1")]

    assert text(events) == ""
    assert isinstance(events[-1], Outcome) and events[-1].status == "ok"


async def test_a_process_that_ends_with_its_answer_saves_first(world: World) -> None:
    async with world.service(on_exit="save") as service, service.lease("a") as lease:
        await output(lease, "x = 41")
    assert await world.engine.containers() == []

    async with world.service(on_exit="remove") as service, service.lease("a") as lease:
        assert await output(lease, "print(x)") == "41\n"


async def test_a_warm_sandbox_is_used_once_and_another_made(world: World) -> None:
    async with world.service(on_exit="remove", warm=1) as service:
        await service.pool.is_full.wait()
        (warm,) = await world.engine.containers()
        async with service.lease("a") as lease:
            await output(lease, "x = 1")
            assert service.entries["a"].record.container_id == warm.container_id
        while service.pool.ready == 0:
            await asyncio.sleep(0.02)

        async with service.lease("b") as lease:
            assert await output(lease, "print('x' in globals())") == "False\n"
        assert len({entry.record.container_id for entry in service.entries.values()}) == 2
    assert await world.engine.containers() == []


async def test_a_sandbox_with_other_limits_does_not_come_from_the_pool(world: World) -> None:
    async with world.service(on_exit="remove", warm=1) as service:
        await service.pool.is_full.wait()
        async with service.lease("a", Limits(memory_mib=256)) as lease:
            await output(lease, "x = 1")

        assert service.pool.ready == 1


@pytest.mark.parametrize("on_exit", ["save", "remove"])
async def test_a_process_that_ends_with_its_answer_leaves_alone_what_it_did_not_use(
    world: World, on_exit: OnExit
) -> None:
    async with world.service() as service, service.lease("a") as lease:
        await output(lease, "x = 41")
    world.clock.now = 5000

    async with world.service(on_exit=on_exit) as service:
        await service.reaper.reap()
        async with service.lease("b") as lease:
            await output(lease, "y = 1")

    async with world.service(on_exit="remove") as service, service.lease("a") as lease:
        assert (await lease.arrive()).kind == "live"
        assert await output(lease, "print(x)") == "41\n"
