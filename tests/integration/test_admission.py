"""Who may run now goes by memory that was measured: of the sandboxes, those that wait ready too, and of the machine."""

from __future__ import annotations

import asyncio

from sandbox.admission import Admission, AdmissionSettings
from sandbox.limits import MIB
from sandbox.pool import PoolSettings
from sandbox.reaper import LifeSettings
from sandbox.service import SandboxService, ServiceSettings
from tests.doubles.clock import Clock
from tests.doubles.scripted_box import ScriptedEngine


class Machine:
    """A machine of 1,000 MiB, and sandboxes on it that use what a test says."""

    def __init__(self, **settings: int) -> None:
        self.in_use = 0
        self.available = 1000
        self.idle: list[int] = []
        self.live = 0
        self.admission = Admission(
            AdmissionSettings(**{"sandboxes": 3, "free_mib": 100, "cell_mib": 100, **settings}),
            in_use=lambda: self.in_use * MIB,
            live=lambda: self.live,
            make_room=self._make_room,
            machine=lambda: (1000 * MIB, self.available * MIB),
        )

    async def _make_room(self, new: bool) -> bool:
        if self.idle:
            self.in_use -= self.idle.pop()
            return True
        return False

    async def enters(self, *, new: bool = False) -> bool:
        """Whether a cell may run at once; if not, it does not wait."""
        async for _ in self.admission.enter(new=new):
            return False
        return True


async def test_cells_enter_up_to_seventy_percent_of_the_machine_by_what_is_used_and_what_they_may_take() -> None:
    machine = Machine()
    machine.in_use = 450

    assert [await machine.enters() for _ in range(3)] == [True, True, False]


async def test_a_budget_of_ones_own_counts_instead() -> None:
    machine = Machine(memory_mib=300)
    machine.in_use = 150

    assert [await machine.enters() for _ in range(2)] == [True, False]


async def test_a_machine_whose_memory_others_use_takes_no_second_cell() -> None:
    machine = Machine()
    machine.available = 350

    assert await machine.enters()
    machine.available = 190
    assert not await machine.enters()


async def test_one_cell_always_runs_however_little_there_is() -> None:
    machine = Machine()
    machine.in_use, machine.available = 5000, 10

    assert await machine.enters()
    assert not await machine.enters()


async def test_what_is_idle_goes_before_anybody_waits() -> None:
    machine = Machine()
    machine.in_use, machine.idle = 900, [200, 300]
    entered = [await machine.enters() for _ in range(4)]

    assert machine.idle == []
    assert entered == [True, True, True, False]


async def test_memory_that_a_running_cell_took_meanwhile_counts_and_what_it_gives_back_lets_the_next_in() -> None:
    machine = Machine()
    assert await machine.enters()
    machine.in_use = 650
    places: list[int] = []

    async def wait() -> None:
        async for before in machine.admission.enter(new=False):
            places.append(before)

    waiting = asyncio.ensure_future(wait())
    while not places:
        await asyncio.sleep(0)
    machine.in_use = 100
    machine.admission.changed()
    await waiting

    assert places == [0]


async def test_none_are_made_ahead_for_which_there_is_no_memory_or_while_people_wait() -> None:
    machine = Machine()
    machine.in_use = 380

    assert machine.admission.spare_sandboxes(60 * MIB) == 3
    assert await machine.enters()
    assert machine.admission.spare_sandboxes(60 * MIB) == 2
    machine.in_use = 650
    assert machine.admission.spare_sandboxes(60 * MIB) == 0


async def test_sandboxes_that_wait_ready_count_and_make_room_for_a_cell() -> None:
    engine, clock = ScriptedEngine(), Clock()
    settings = ServiceSettings(
        admission=AdmissionSettings(sandboxes=4, free_mib=0, memory_mib=1000),
        pool=PoolSettings(least=2, most=2),
        life=LifeSettings(reap_every_seconds=3600),
    )
    async with SandboxService(engine, settings=settings, clock=clock, now=clock) as sandboxes:
        await sandboxes.pool.is_full.wait()
        for sandbox in sandboxes.pool.sandboxes:
            sandbox.memory_bytes = 400 * MIB
        before = sandboxes.openings.memory_bytes()
        async with sandboxes.lease("a") as lease:
            assert [event async for event in lease.run("name")]
            in_lease = sandboxes.openings.memory_bytes()
            (waits,) = sandboxes.pool.sandboxes
            waits.memory_bytes = 600 * MIB
            assert [event async for event in lease.run("name")]

        assert (before, in_lease) == (800 * MIB, 800 * MIB)
        assert sandboxes.pool.ready == 0
        assert sandboxes.live == 1
