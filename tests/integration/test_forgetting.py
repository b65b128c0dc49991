"""Saved state that is forgotten while a message comes for it; and what a service counts of an earlier one's."""

from __future__ import annotations

import asyncio

import pytest

from sandbox import Limits, Outcome, Output
from sandbox.admission import AdmissionSettings
from sandbox.blobs import Blobs
from sandbox.errors import SandboxGone
from sandbox.limits import MIB
from sandbox.reaper import LifeSettings
from sandbox.records import MemoryRecords, Record
from sandbox.service import SandboxService, ServiceSettings
from sandbox.snapshot import Snapshots
from tests.doubles.clock import Clock
from tests.doubles.process_engine import ProcessEngine

WEEK = 7 * 24 * 3600.0


class SlowBlobs(Blobs):
    """A store whose deletes wait until they are let through."""

    def hold(self) -> None:
        self.deleting, self.let_through = asyncio.Event(), asyncio.Event()

    async def delete(self, name: str) -> None:
        self.deleting.set()
        await self.let_through.wait()
        await super().delete(name)


class World:
    def __init__(self, engine: ProcessEngine) -> None:
        self.engine = engine
        self.records = MemoryRecords()
        self.blobs = SlowBlobs.at("memory://")
        self.blobs.hold()
        self.clock = Clock()

    def service(self) -> SandboxService:
        life = LifeSettings(pause_seconds=90, save_seconds=1200, retention_seconds=WEEK, reap_every_seconds=3600)
        return SandboxService(
            self.engine,
            limits=Limits(timeout_seconds=10),
            settings=ServiceSettings(admission=AdmissionSettings(free_mib=0), life=life, on_exit="leave"),
            records=self.records,
            snapshots=Snapshots(self.blobs),
            clock=self.clock,
            now=self.clock,
        )

    async def save(self, service: SandboxService, code: str) -> None:
        await said(service, code)
        self.clock.now += 1300
        await service.reaper.reap()
        assert service.live == 0


async def said(service: SandboxService, code: str) -> str:
    async with service.lease("a") as lease:
        return "".join([event.text async for event in lease.run(code) if isinstance(event, Output)])


@pytest.fixture
def world(process_engine: ProcessEngine) -> World:
    return World(process_engine)


async def test_a_message_during_the_forgetting_begins_anew_and_its_container_is_remembered(world: World) -> None:
    async with world.service() as service:
        await world.save(service, "x = 41")
        world.clock.now += 2 * WEEK
        reaping = asyncio.ensure_future(service.reaper.reap())
        await world.blobs.deleting.wait()
        message = asyncio.ensure_future(said(service, "print('x' in globals())"))
        for _ in range(10):
            await asyncio.sleep(0)
        world.blobs.let_through.set()
        await reaping

        printed = await message
        record = await world.records.get("a")

    assert printed == "False\n"
    assert record is not None
    assert (bool(record.container_id), record.snapshot) == (True, "")


async def test_what_was_saved_again_meanwhile_is_not_forgotten(world: World) -> None:
    class LateRecords(MemoryRecords):
        """The thread is used and saved again after the reaper has read all records."""

        async def all(self) -> list[Record]:
            old = await super().all()
            if world.clock.now > WEEK:
                for record in old:
                    await self.put(Record(key=record.key, snapshot="newer", snapshot_bytes=1, saved_at=world.clock.now))
            return old

    world.records = LateRecords()
    async with world.service() as service:
        await world.save(service, "x = 41")
        world.clock.now += 2 * WEEK

        await service.reaper.reap()

        record = await world.records.get("a")
    assert record is not None
    assert record.snapshot == "newer"
    assert not world.blobs.deleting.is_set()


class MeteredEngine(ProcessEngine):
    """An engine that knows what its containers use, but for those that are about to go."""

    async def usage(self, container_id: str) -> tuple[int, float]:
        if container_id == next(iter(self._supervisors)):
            raise SandboxGone
        return 700 * MIB, 1.0

    async def ran_out_of_memory(self, container_id: str) -> bool:
        return True


async def test_a_container_that_ended_for_want_of_memory_is_told_so() -> None:
    world = World(MeteredEngine())
    ends = []
    async with world.service() as service, service.lease("a") as lease:
        sandbox = await lease.sandbox()
        async for event in lease.run("print('go', flush=True)\nimport time; time.sleep(60)"):
            if isinstance(event, Output):
                await world.engine.remove(sandbox.container_id)
            ends.append(event)
    await world.engine.aclose()

    assert isinstance(ends[-1], Outcome)
    assert (ends[-1].status, ends[-1].exit_code, ends[-1].sandbox_lost) == ("oom", 137, True)


async def test_containers_of_an_earlier_process_count_with_what_they_use() -> None:
    world = World(MeteredEngine())
    async with world.service() as first:
        for key in ("a", "b"):
            async with first.lease(key) as lease:
                await lease.sandbox()

    async with world.service() as second:
        before = second.openings.memory_bytes()
        async with second.lease("b") as lease:
            told = (await lease.sandbox()).memory_bytes
            attached = second.openings.memory_bytes()
    await world.engine.aclose()

    assert before == (60 + 700) * MIB
    assert attached == 60 * MIB + told
