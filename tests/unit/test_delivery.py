"""A platform that takes nothing costs a turn little, and the answers of other threads nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection

from bot.delivery import (
    AGAIN_MOST,
    FINAL_SECONDS,
    LEFT_ALONE_SECONDS,
    LONGEST_RETRY_SECONDS,
    TRIES,
    Redelivery,
    delivering,
)
from bot.model import PostedReply, Reply, Text, ThreadKey
from bot.ports import GONE
from bot.secrets import Redactor
from tests.doubles.clock import Clock, VirtualTime, in_virtual_time
from tests.doubles.platform import MemoryPlatform

Left = tuple[ThreadKey, Reply]


class MemoryOutbox:
    """The Outbox port; what is `left` is not posted."""

    def __init__(self, left: list[Left]) -> None:
        self.left = left
        self.ids: dict[str, str] = {}

    async def replies(self, turn_id: str) -> list[PostedReply]:
        return []

    async def write(self, reply: Reply) -> None:
        pass

    async def posted(self, reply: Reply, message_id: str) -> None:
        self.ids[reply.key] = message_id
        self.left = [(key, one) for key, one in self.left if one != reply]

    async def undelivered(
        self, limit: int, *, platforms: Collection[str], without: Collection[ThreadKey] = ()
    ) -> list[Left]:
        return [(key, one) for key, one in self.left if key.platform in platforms and key not in without][:limit]


class PickyPlatform(MemoryPlatform):
    """Takes nothing in some threads: it raises, or says that they are gone."""

    def __init__(self, *, away: Collection[str] = (), gone: Collection[str] = ()) -> None:
        super().__init__()
        self._away, self._gone = away, gone
        self.tried: Counter[str] = Counter()

    async def publish(self, key: ThreadKey, reply: Reply) -> str:
        self.tried[reply.key] += 1
        if key.thread in self._away:
            raise ConnectionError("scripted")
        return GONE if key.thread in self._gone else await super().publish(key, reply)


def left(thread: str, part: int = 0, *, final: bool = True) -> Left:
    key = ThreadKey(platform="memory", workspace="w", channel="c", thread=thread)
    return key, Reply(turn_id=thread, part=part, blocks=(Text(markdown="a"),), final=final)


async def deliver(platform: MemoryPlatform, outbox: MemoryOutbox, key: ThreadKey, *replies: Reply) -> bool:
    """Whether a final reply was left."""
    async with delivering(outbox, platform, key, "t", Redactor([])) as delivery:
        for reply in replies:
            delivery.push([reply])
    return delivery.undelivered


@in_virtual_time
async def test_a_platform_that_is_away_is_waited_for_once_in_a_turn_not_with_each_reply() -> None:
    platform, outbox = PickyPlatform(away={"t"}), MemoryOutbox([])
    replies = [left("t", part)[1] for part in range(4)]
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTime)

    is_left = await deliver(platform, outbox, left("t")[0], *replies)

    assert is_left
    assert [platform.tried[reply.key] for reply in replies[1:]] == [TRIES] * 3
    assert FINAL_SECONDS <= loop.time() <= FINAL_SECONDS + 2 * LONGEST_RETRY_SECONDS


@in_virtual_time
async def test_a_thread_that_is_gone_is_neither_tried_again_nor_changed() -> None:
    platform, outbox = PickyPlatform(gone={"t"}), MemoryOutbox([])
    key, grows = left("t", final=False)

    async with delivering(outbox, platform, key, "t", Redactor([])) as delivery:
        delivery.push([grows])
        while not outbox.ids:
            await asyncio.sleep(0.1)
        delivery.push([left("t")[1]])

    assert (delivery.undelivered, outbox.ids) == (False, {grows.key: GONE})
    assert (platform.tried[grows.key], platform.edits) == (1, 0)


async def test_threads_that_fail_do_not_keep_newer_ones_waiting() -> None:
    dead = [left(f"dead{number}") for number in range(2 * AGAIN_MOST)]
    outbox, platform = MemoryOutbox([*dead, left("alive")]), PickyPlatform(away={key.thread for key, _ in dead})
    clock = Clock()
    again = Redelivery(outbox, {"memory": platform}, clock)

    settled = [await again.sweep() for _ in range(4)]

    assert settled == [0, 0, 1, 0]
    assert set(platform.tried.values()) == {1}


async def test_a_thread_that_failed_is_tried_again_in_a_while_and_one_that_is_gone_is_not() -> None:
    outbox = MemoryOutbox([left("away"), left("away", 1), left("gone")])
    platform, clock = PickyPlatform(away={"away"}, gone={"gone"}), Clock()
    again = Redelivery(outbox, {"memory": platform}, clock)

    await again.sweep()
    await again.sweep()
    clock.now += LEFT_ALONE_SECONDS + 1
    await again.sweep()

    assert platform.tried == {"away.0": 2, "gone.0": 1}


@in_virtual_time
async def test_a_posted_reply_whose_record_failed_is_recorded_at_the_next_try_and_not_posted_again() -> None:
    class Flaky(MemoryOutbox):
        fails = 1

        async def posted(self, reply: Reply, message_id: str) -> None:
            if self.fails:
                self.fails -= 1
                raise ConnectionError("the database starts again")
            await super().posted(reply, message_id)

    platform, outbox = PickyPlatform(), Flaky([])
    key, reply = left("t")

    undelivered = await deliver(platform, outbox, key, reply)

    assert not undelivered
    assert list(outbox.ids) == [reply.key]
    assert platform.tried == {reply.key: 1}
