"""The warm pool follows demand, fills itself a few at a time and leaves a failing engine alone. In virtual time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import pytest
from structlog.testing import capture_logs

from sandbox import Limits
from sandbox.errors import EngineUnavailable, SandboxGone
from sandbox.pool import PoolSettings, WarmPool
from tests.doubles.clock import Clock, in_virtual_time
from tests.doubles.scripted_box import BoxWire, ScriptedBox, ScriptedEngine

LIMITS = Limits()


@pytest.fixture(autouse=True)
def unprinted() -> Iterator[None]:
    with capture_logs():
        yield


class SlowEngine(ScriptedEngine):
    """A create takes a quarter of a second, or fails as long as `fails` says; their moments are kept."""

    def __init__(self) -> None:
        super().__init__()
        self.fails = 0
        self.tried: list[float] = []
        self.creating = 0
        self.most_at_once = 0

    async def create(self, sandbox_id: str, limits: Limits) -> tuple[str, BoxWire]:
        self.tried.append(now())
        self.creating += 1
        self.most_at_once = max(self.most_at_once, self.creating)
        try:
            if self.fails:
                self.fails -= 1
                raise EngineUnavailable
            await asyncio.sleep(0.25)
            return await super().create(sandbox_id, limits)
        finally:
            self.creating -= 1

    async def attach(self, container_id: str) -> BoxWire:
        if self._box(container_id).state == "gone":
            raise SandboxGone
        return await super().attach(container_id)

    def first_ends(self) -> ScriptedBox:
        """As a container that exits: it stays until it is removed."""
        box = next(iter(self.boxes.values()))
        box.state = "gone"
        if box.reader is not None:
            box.reader.end()
        return box


def now() -> float:
    return asyncio.get_running_loop().time()


@contextlib.asynccontextmanager
async def running(engine: SlowEngine, settings: PoolSettings) -> AsyncIterator[WarmPool]:
    """A pool and its task; nothing of it is left afterwards."""
    pool = WarmPool(engine, LIMITS, settings, now)
    task = asyncio.ensure_future(pool.run())
    try:
        yield pool
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    assert (pool.ready, engine.boxes) == (0, {})


def test_as_many_are_wanted_as_were_taken_within_a_minute_between_least_and_most() -> None:
    clock = Clock()
    pool = WarmPool(ScriptedEngine(), LIMITS, PoolSettings(least=1, most=3), clock)
    wanted = [pool.wanted]
    for moment in (0, 10, 20, 30):
        clock.now = moment
        pool.take(LIMITS)
        wanted.append(pool.wanted)
    for moment in (69, 71, 81, 91):  # each a minute after one, of which the last three count
        clock.now = moment
        wanted.append(pool.wanted)

    assert wanted == [1, 1, 2, 3, 3, 3, 2, 1, 1]


def test_a_sandbox_of_another_size_is_no_demand_on_the_pool() -> None:
    pool = WarmPool(ScriptedEngine(), LIMITS, PoolSettings(least=0, most=3), Clock())

    assert pool.take(Limits(memory_mib=300)) is None
    assert pool.wanted == 0


@in_virtual_time
async def test_it_fills_itself_to_what_is_wanted_a_few_at_a_time() -> None:
    engine = SlowEngine()
    async with running(engine, PoolSettings(least=5, most=9, starts_at_once=2)) as pool:
        await pool.is_full.wait()

        assert (pool.ready, engine.made, engine.most_at_once) == (5, 5, 2)
        assert 0.75 <= now() < 0.8  # three times two


@in_virtual_time
async def test_each_is_used_once_and_replaced_in_the_background() -> None:
    engine = SlowEngine()
    async with running(engine, PoolSettings(least=2, most=2)) as pool:
        taken = []
        for _ in range(4):
            await pool.is_full.wait()
            sandbox = pool.take(LIMITS)
            assert sandbox is not None and sandbox.is_alive
            taken.append(sandbox)
            await asyncio.sleep(1)

        assert len({sandbox.container_id for sandbox in taken}) == 4
        assert (pool.ready, engine.made) == (2, 6)
        assert not {sandbox.container_id for sandbox in taken} - engine.boxes.keys()
        for sandbox in taken:
            await sandbox.remove()


@in_virtual_time
async def test_it_grows_with_demand_and_shrinks_within_a_quarter_of_a_minute_after_it() -> None:
    engine = SlowEngine()
    async with running(engine, PoolSettings(least=1, most=4)) as pool:
        await pool.is_full.wait()
        taken = [sandbox for _ in range(3) if (sandbox := pool.take(LIMITS)) is not None]
        await asyncio.sleep(30)
        grown = pool.ready
        await asyncio.sleep(46)

        assert (len(taken), grown, pool.ready) == (1, 3, 1)
        assert len(engine.boxes) == 2
        await taken[0].remove()


@in_virtual_time
async def test_a_failing_engine_is_asked_less_and_less_often_however_many_come() -> None:
    engine = SlowEngine()
    engine.fails = 7
    async with running(engine, PoolSettings(least=1, most=1, starts_at_once=1)) as pool:
        while not pool.ready:
            pool.take(LIMITS)
            await asyncio.sleep(0.1)
        pauses = [round(after - before) for before, after in zip(engine.tried, engine.tried[1:], strict=False)]
        assert pauses == [1, 2, 4, 8, 16, 30, 30]

        engine.fails = 1
        taken = pool.take(LIMITS)
        assert taken is not None
        await asyncio.sleep(2)

        assert round(engine.tried[-1] - engine.tried[-2]) == 1  # what failed before a success counts no more
        assert pool.ready == 1
        await taken.remove()


@in_virtual_time
async def test_no_more_are_made_than_there_is_room_for() -> None:
    engine = SlowEngine()
    async with running(engine, PoolSettings(least=4, most=4, starts_at_once=4)) as pool:
        pool.limit_to(lambda: 3 - pool.ready)
        await asyncio.sleep(60)

        assert (pool.ready, engine.made) == (3, 3)


@in_virtual_time
async def test_one_that_died_while_it_waited_is_removed_and_replaced() -> None:
    engine = SlowEngine()
    async with running(engine, PoolSettings(least=1, most=1)) as pool:
        await pool.is_full.wait()
        box = engine.first_ends()
        await asyncio.sleep(20)

        assert (pool.ready, len(engine.boxes)) == (1, 1)
        assert box not in engine.boxes.values()


@in_virtual_time
async def test_at_the_end_a_dead_one_that_was_found_when_taken_is_removed_too() -> None:
    engine = SlowEngine()
    async with running(engine, PoolSettings(least=1, most=1)) as pool:
        await pool.is_full.wait()
        engine.first_ends()
        await asyncio.sleep(5)

        assert pool.take(LIMITS) is None
