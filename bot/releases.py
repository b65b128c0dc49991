"""When a claimed turn goes into the queue: at once, unless its author has so many running elsewhere already.

What is held takes no place in the queue; it goes there when one of its author's ends. Within a thread the order stays:
what came after a held turn is held too. Who is released is kept, so that a dead process changes nothing of it.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import structlog

from bot.ports import TurnQueue

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A turn that has not ended."""

    turn_id: str
    thread_id: str
    person: str
    """Its author, unlike any other's of any platform."""
    is_released: bool


class Claims(Protocol):
    """The turns that have not ended; `bot.store` has them."""

    async def claims(self) -> list[Claim]:
        """All of them, in the order of arrival."""

    async def mark_released(self, turn_ids: Sequence[str]) -> None:
        """Keep that these may run."""


def may_begin(claims: Sequence[Claim], most: int) -> list[Claim]:
    """Those that are held and need not be, in order: each person may have turns in `most` threads at a time."""
    threads: defaultdict[str, set[str]] = defaultdict(set)
    waiting: defaultdict[str, list[str]] = defaultdict(list)
    for claim in claims:
        if claim.is_released:
            threads[claim.person].add(claim.thread_id)
        else:
            waiting[claim.thread_id].append(claim.turn_id)
    released = []
    for claim in claims:
        if claim.is_released or claim.turn_id != min(waiting[claim.thread_id]):
            continue  # an earlier one of its thread waits
        taken = threads[claim.person]
        if claim.thread_id in taken or len(taken) < most:  # in one thread only one of them runs at a time
            taken.add(claim.thread_id)
            waiting[claim.thread_id].remove(claim.turn_id)
            released.append(claim)
    return released


class Releases:
    """Queues what may run; `run` does so again whenever a turn has ended."""

    def __init__(self, claims: Claims, queue: TurnQueue, running_per_person: int) -> None:
        self._claims = claims
        self._queue = queue
        self.running_per_person = running_per_person
        self._begun: set[str] = set()  # turns whose claim is whole; another may still get its first sign
        self._any_held = True  # where it was last looked at; what a dead process left nobody has seen yet
        self._ended = asyncio.Event()
        self._one = asyncio.Lock()  # what one finds and releases the next must see, and be queued after

    async def standing(self, turn_id: str, thread_id: str) -> Literal["free", "behind", "held"]:
        """Whether a claimed turn may begin, or waits: behind another of its thread, or for its author's others."""
        claims = await self._claims.claims()
        if any(claim.thread_id == thread_id and claim.turn_id < turn_id for claim in claims):
            return "behind"
        may = {claim.turn_id for claim in may_begin(claims, self.running_per_person)}
        is_held = any(claim.turn_id == turn_id and not claim.is_released for claim in claims) and turn_id not in may
        return "held" if is_held else "free"

    async def begin(self, turn_id: str) -> None:
        """Queue a claimed turn, or hold it until it may run."""
        await self._release(turn_id)

    async def _release(self, *begun: str) -> None:
        async with self._one:
            self._begun.update(begun)
            await self._release_of(await self._claims.claims())

    async def _release_of(self, claims: list[Claim]) -> None:
        released = may_begin(self._whole(claims), self.running_per_person)
        if released:
            await self._claims.mark_released([claim.turn_id for claim in released])
        for claim in released:
            await self._queue.enqueue(claim.turn_id, claim.thread_id)
        self._any_held = any(not claim.is_released and claim not in released for claim in claims)

    def _whole(self, claims: list[Claim]) -> list[Claim]:
        """Those that are begun, and no later ones of a thread where one is not yet."""
        self._begun &= {claim.turn_id for claim in claims if not claim.is_released}
        whole, coming = [], set()
        for claim in claims:
            if not claim.is_released and (claim.turn_id not in self._begun or claim.thread_id in coming):
                coming.add(claim.thread_id)
            else:
                whole.append(claim)
        return whole

    async def sweep(self) -> int:
        """Queue all that may run: what is queued already is not queued twice, what a crash left is."""
        async with self._one:
            claims = await self._claims.claims()
            self._begun.update(claim.turn_id for claim in claims)
            released = [claim for claim in claims if claim.is_released]
            for claim in released:
                await self._queue.enqueue(claim.turn_id, claim.thread_id)
            await self._release_of(claims)
            return len(released)

    def turn_ended(self) -> None:
        """Another of its author's may run. Returns at once: what a turn does itself would be a step of its."""
        self._ended.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._ended.wait()
            self._ended.clear()
            if not self._any_held:
                continue
            try:
                await self._release()
            except Exception:  # the sweep does it again
                log.exception("turns.not_released")
