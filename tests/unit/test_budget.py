"""Token buckets: no more than a platform allows, the important first, nobody starved."""

from __future__ import annotations

import asyncio

import pytest

from bot.budget import Budget, Priority, Rate


class Clock:
    """The loop's own time."""

    def __call__(self) -> float:
        return asyncio.get_running_loop().time()


def rate(bucket: str) -> Rate:
    return Rate(calls=100, seconds=1, burst=3)


async def test_a_burst_goes_at_once_and_the_rest_at_the_rate() -> None:
    clock = Clock()
    budget = Budget(rate, clock)
    began = clock()

    for _ in range(13):
        await budget.take("a", priority=Priority.FINAL)

    assert clock() - began >= 0.09


async def test_the_important_go_first_when_it_is_short() -> None:
    budget = Budget(rate, Clock())
    order: list[str] = []

    async def call(name: str, priority: Priority) -> None:
        await budget.take("a", priority=priority)
        order.append(name)

    while budget.take_now("a"):
        pass
    budget.pause("a", 0.05)  # however long the machine takes to begin them all
    async with asyncio.TaskGroup() as group:
        for number in range(3):
            group.create_task(call(f"progress {number}", Priority.PROGRESS))
        group.create_task(call("final", Priority.FINAL))
        group.create_task(call("sign", Priority.SIGN))

    assert order == ["final", "progress 0", "progress 1", "progress 2", "sign"]


async def test_one_who_waits_is_not_overtaken_where_it_waits_and_holds_up_nobody_elsewhere() -> None:
    def slow(bucket: str) -> Rate:
        return Rate(
            calls=20 if bucket.startswith("channel") else 1_000, seconds=1, burst=1 if "channel" in bucket else 5
        )

    budget = Budget(slow, Clock())
    budget.take_now("channel 1", "method")
    waiting = asyncio.ensure_future(budget.take("channel 1", "method", priority=Priority.PROGRESS))
    await asyncio.sleep(0)

    assert not budget.take_now("channel 1")
    assert budget.take_now("channel 2", "method")
    await waiting


async def test_a_full_channel_keeps_nobody_from_another() -> None:
    clock = Clock()
    budget = Budget(rate, clock)
    budget.pause("channel 1", 5)
    stuck = asyncio.ensure_future(budget.take("channel 1", "method", priority=Priority.FINAL))
    began = clock()

    for _ in range(3):
        await budget.take("channel 2", "method", priority=Priority.FINAL)

    assert clock() - began < 1
    stuck.cancel()


async def test_a_pause_that_the_platform_asked_for_is_kept() -> None:
    clock = Clock()
    budget = Budget(rate, clock)
    budget.pause("a", 0.1)
    began = clock()

    await budget.take("a", priority=Priority.FINAL)

    assert clock() - began >= 0.09
    assert budget.room("b") == 3


async def test_who_no_longer_waits_takes_nothing() -> None:
    budget = Budget(rate, Clock())
    while budget.take_now("a"):
        pass
    gone = asyncio.ensure_future(budget.take("a", priority=Priority.FINAL))
    await asyncio.sleep(0)
    gone.cancel()

    await budget.take("a", priority=Priority.SIGN)

    with pytest.raises(asyncio.CancelledError):
        await gone
