"""What every clock does: the wall clock that rows are dated with, and the one that durations are measured by."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from bot.clock import utc_now
from bot.ports import Clock
from bot.store import Database, SqlChoices
from tests.doubles.clock import Clock as Seconds
from tests.doubles.clock import VirtualTime, WallClock


@pytest.fixture(params=["real", "in memory"])
def clock(request: pytest.FixtureRequest) -> Clock:
    return utc_now if request.param == "real" else WallClock()


def test_the_time_is_utc_and_says_so(clock: Clock) -> None:
    now = clock()

    assert now.tzinfo is UTC
    assert datetime.fromisoformat(now.isoformat()) == now


def test_the_time_never_goes_back(clock: Clock) -> None:
    read = [clock() for _ in range(1000)]

    assert read == sorted(read)


async def test_the_store_dates_by_it(clock: Clock, database: Database) -> None:
    choices = SqlChoices(database, clock)

    assert await choices.is_new("test", "event")
    assert not await choices.is_new("test", "event")


async def test_a_clock_that_is_advanced_is_as_much_later(database: Database) -> None:
    clock = WallClock()
    choices = SqlChoices(database, clock)
    before = clock()
    await choices.is_new("test", "event")

    clock.advance(25 * 3600)

    assert clock() - before == timedelta(hours=25)
    assert await choices.is_new("test", "event")  # it is forgotten after a day


@pytest.mark.parametrize("seconds", [time.monotonic, Seconds()], ids=["real", "in memory"])
def test_seconds_are_a_number_that_never_goes_back(seconds: Callable[[], float]) -> None:
    read = [seconds() for _ in range(1000)]

    assert all(isinstance(now, float) for now in read)
    assert read == sorted(read)


@pytest.mark.parametrize("loop", [asyncio.SelectorEventLoop, VirtualTime], ids=["real", "in memory"])
def test_on_a_loop_what_is_due_first_comes_first_and_never_early(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    woken: list[tuple[float, float]] = []

    async def wait(seconds: float) -> None:
        before = asyncio.get_running_loop().time()
        await asyncio.sleep(seconds)
        woken.append((seconds, asyncio.get_running_loop().time() - before))

    async def together() -> None:
        await asyncio.gather(*(wait(seconds) for seconds in (0.03, 0.01, 0.02)))

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(together())

    assert [asked for asked, _ in woken] == [0.01, 0.02, 0.03]
    assert all(waited >= asked - 0.001 for asked, waited in woken)
