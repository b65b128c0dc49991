"""Messages, the reaper, eviction and pauses against each other: no state is lost, and a key has one container."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from sandbox import Engine, Limits, Outcome, Output, Sandbox
from sandbox.admission import AdmissionSettings
from sandbox.errors import SandboxError, SandboxGone
from sandbox.reaper import LifeSettings
from sandbox.service import SandboxService, ServiceSettings
from sandbox.snapshot import Snapshots
from tests.doubles.clock import Clock
from tests.doubles.scripted_box import DictBlobs, ScriptedEngine, some_turns
from tests.quick import rounds

ROUNDS = rounds(1000)
MOST_TURNS = (
    40  # a use takes about as many turns of the loop as a reap: every point of one meets every point of the other
)


@pytest.fixture(autouse=True)
def unprinted() -> Iterator[None]:
    """The service writes a line at each removal: to print thousands takes longer than the races."""
    with capture_logs():
        yield


class Threads:
    """Keys with a counter each, and what the counter must be."""

    def __init__(self, seed: int, most: int = 10) -> None:
        self.engine = ScriptedEngine(seed)
        self.chance = self.engine.chance
        self.clock = Clock()
        self.counts: dict[str, int] = {}
        self.service = SandboxService(
            self.engine,
            settings=ServiceSettings(
                admission=AdmissionSettings(sandboxes=most, free_mib=0, memory_mib=1 << 20),
                life=LifeSettings(pause_seconds=30, save_seconds=60, reap_every_seconds=3600),
            ),
            snapshots=Snapshots(DictBlobs(self.chance)),
            clock=self.clock,
            now=self.clock,
        )

    async def use(self, key: str) -> None:
        """One message: the counter goes on where it was, and no other container has ever counted for this key."""
        await some_turns(self.chance, MOST_TURNS)
        async with self.service.lease(key) as lease:
            await lease.arrive()
            await some_turns(self.chance)
            events = [event async for event in lease.run(key)]
            holders = [box for box in self.engine.boxes.values() if key in box.served]
            self.counts[key] = self.counts.get(key, 0) + 1
        assert [event.text for event in events if isinstance(event, Output)] == [f"{key} {self.counts[key]}"]
        assert isinstance(events[-1], Outcome) and events[-1].status == "ok"
        assert [box.served for box in holders] == [{key}]

    async def reap(self) -> None:
        await some_turns(self.chance, MOST_TURNS)
        self.clock.now += self.chance.choice((31, 61))
        await self.service.reaper.reap()


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_thousand_messages_that_race_the_reaper_lose_nothing(seed: int) -> None:
    """Case 43."""
    threads = Threads(seed)
    async with threads.service:
        for _ in range(ROUNDS):
            await asyncio.gather(threads.use("a"), threads.reap())

        assert threads.counts == {"a": ROUNDS}
        assert threads.engine.made > ROUNDS // 20  # the reaper has won often
    assert threads.engine.boxes == {}


async def test_messages_reapers_and_evictions_at_once_lose_nothing() -> None:
    """Case 43: five threads share three places, and each message makes room for itself."""
    threads = Threads(seed=3, most=3)
    async with threads.service:
        for _ in range(ROUNDS // 5):
            keys = [threads.chance.choice("abcde") for _ in range(3)]
            await asyncio.gather(*(threads.use(key) for key in keys), threads.reap(), threads.reap())

        assert sum(threads.counts.values()) == ROUNDS // 5 * 3
    assert threads.engine.boxes == {}


async def test_bringing_back_what_a_thread_had_keeps_to_the_number_of_sandboxes() -> None:
    threads = Threads(seed=8, most=1)
    async with threads.service:
        await threads.use("a")
        threads.clock.now += 61
        await threads.service.reaper.reap()
        async with threads.service.lease("b") as busy:
            await busy.sandbox()
            with contextlib.suppress(TimeoutError, SandboxError):
                async with threads.service.lease("a") as lease, asyncio.timeout(0.1):
                    await lease.arrive()

            assert len(threads.engine.boxes) == 1


async def test_who_waits_for_a_place_holds_up_nobody_who_has_one() -> None:
    """The first in the queue waits for a place; the second has one, and its turn's end is what the first waits for."""
    threads = Threads(seed=9, most=1)
    async with threads.service, asyncio.timeout(2):
        async with threads.service.lease("a") as lease:
            assert [event.text async for event in lease.run("a") if isinstance(event, Output)] == ["a 1"]
            second = asyncio.ensure_future(threads.use("b"))
            await asyncio.sleep(0.05)

            assert [event.text async for event in lease.run("a") if isinstance(event, Output)] == ["a 2"]
        await second


async def test_two_messages_at_once_in_a_thread_get_one_container() -> None:
    """Case 42."""
    threads = Threads(seed=4)
    async with threads.service:
        for number in range(100):
            await asyncio.gather(*(threads.use(f"thread {number}") for _ in range(2)))

        assert threads.engine.made == 100
        assert set(threads.counts.values()) == {2}


async def test_a_message_that_is_cancelled_anywhere_leaves_one_container_or_none_and_the_state() -> None:
    threads = Threads(seed=5)
    async with threads.service:
        for _ in range(200):
            await threads.use("a")
            before = dict(threads.counts)
            task = asyncio.ensure_future(threads.use("a"))
            await some_turns(threads.chance, 2 * MOST_TURNS)
            await asyncio.gather(threads.reap(), stopped(task))

            # whether the cell was run before the message was stopped is the box's to say
            counted = [box.counter for box in threads.engine.boxes.values()]
            threads.counts = {"a": max([before["a"], *counted])}
            assert len(threads.engine.boxes) <= 1
            threads.counts["a"] = await count_of(threads)
            assert threads.counts["a"] - before["a"] in (1, 2)


async def stopped(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled() and task.exception() is not None:
        await task


async def count_of(threads: Threads) -> int:
    """One more message, whatever its number is; the number."""
    async with threads.service.lease("a") as lease:
        (text,) = [event.text async for event in lease.run("a") if isinstance(event, Output)]
    return int(text.split()[1])


async def test_a_cell_of_ten_minutes_is_never_reaped() -> None:
    """Case 44: by the reaper or for want of room, at any moment of the ten minutes."""
    threads = Threads(seed=6, most=1)
    async with threads.service, threads.service.lease("a") as lease:
        run = lease.run("a")
        await anext(run)
        for _ in range(600):
            threads.clock.now += 1
            await threads.service.reaper.reap()
            assert not await threads.service.reaper.evict()
        (box,) = threads.engine.boxes.values()

        assert box.state == "running"
        assert isinstance(await anext(run), Outcome)
        await run.aclose()


async def test_pauses_at_once_and_of_what_is_paused_are_no_error(engine: Engine) -> None:
    """Case 45."""
    sandbox = await Sandbox.start(engine, "paused", Limits(timeout_seconds=20))

    await asyncio.gather(*(sandbox.pause() for _ in range(3)))
    await sandbox.pause()
    await sandbox.unpause()
    await sandbox.unpause()
    events = [event async for event in sandbox.run("print(1)")]
    await sandbox.remove()

    assert isinstance(events[-1], Outcome) and events[-1].status == "ok"


async def test_a_pause_of_a_container_that_is_gone_says_so(engine: Engine) -> None:
    """Case 45."""
    sandbox = await Sandbox.start(engine, "gone", Limits())
    await engine.remove(sandbox.container_id)

    with pytest.raises(SandboxGone):
        await sandbox.pause()
    with pytest.raises(SandboxGone):
        await sandbox.unpause()


async def test_a_container_that_is_killed_while_it_is_paused_is_replaced_by_the_next_message() -> None:
    """Case 45."""
    threads = Threads(seed=7)
    async with threads.service:
        await threads.use("a")
        threads.clock.now += 31
        await threads.service.reaper.reap()
        (box,) = threads.engine.boxes
        assert threads.engine.boxes[box].state == "paused"
        await threads.engine.remove(box)
        threads.counts.clear()

        await threads.use("a")

        assert box not in threads.engine.boxes
