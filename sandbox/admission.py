"""Who may run now: cells enter in the order they came, as far as the machine's memory reaches.

What counts is what the live sandboxes were measured to use, not the sum of their limits.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from sandbox.errors import TooManyWait, WaitGivenUp
from sandbox.limits import MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionSettings:
    """Bounds on everything that runs at once."""

    sandboxes: int = 20
    memory_mib: int | None = None
    """What all sandboxes together may use; None: 70 % of the machine's."""
    free_mib: int = 512
    """What must stay available on the machine."""
    cell_mib: int = 150
    """Set aside for a cell that runs."""
    waiting: int = 100
    wait_seconds: float = 300.0


LOOK_SECONDS = 2.0
"""Memory may be free although nothing told us: whoever waits looks so often."""
SAMPLE_SECONDS = 0.05
"""How old a look at the machine's memory may be: it costs a tenth of a cell, and making room takes longer than this."""


class Wait:
    """One wait for a place, which may be given up; what waits on nothing takes no notice."""

    def __init__(self) -> None:
        self.look = asyncio.Event()
        self.is_given_up = False

    def give_up(self) -> None:
        """Whoever waits gets WaitGivenUp."""
        self.is_given_up = True
        self.look.set()


class Admission:
    """A queue before a budget. `in_use` and `live` measure; `make_room` says whether it could free what is idle.

    It is told whether a sandbox is wanted that is not there yet.
    """

    def __init__(
        self,
        settings: AdmissionSettings,
        *,
        in_use: Callable[[], int],
        live: Callable[[], int],
        make_room: Callable[[bool], Awaitable[bool]],
        machine: Callable[[], tuple[int, int]] | None = None,
    ) -> None:
        self._settings = settings
        self._in_use = in_use
        self._live = live
        self._make_room = make_room
        self._machine = machine or MachineMemory().sample
        self._running = 0
        # apart: who has a sandbox must not wait behind one that lacks only a place, which its own lease may keep
        self._queues: dict[bool, deque[asyncio.Event]] = {True: deque(), False: deque()}

    async def enter(self, *, new: bool, wait: Wait | None = None) -> AsyncIterator[int]:
        """Wait for a place, yielding how many are before us whenever that changes; `leave` gives the place back.

        `new`: the cell needs a sandbox that is not there yet. Raises TooManyWait, WaitGivenUp.
        """
        if self._queues[new] or not await self._fits(new):
            async for before in self._wait(new, wait or Wait()):
                yield before
        self._running += 1

    def leave(self) -> None:
        """A cell ended."""
        self._running -= 1
        self.changed()

    def changed(self) -> None:
        """There may be room: let the first in the queue look."""
        for queue in self._queues.values():
            if queue:
                queue[0].set()

    async def _wait(self, new: bool, wait: Wait) -> AsyncIterator[int]:
        queue = self._queues[new]
        if len(queue) >= self._settings.waiting:
            raise TooManyWait(f"{len(queue)} already wait for a sandbox; try again in a while.")
        look = wait.look
        queue.append(look)
        told = -1
        until = asyncio.get_running_loop().time() + self._settings.wait_seconds
        try:
            while queue[0] is not look or not await self._fits(new):
                if wait.is_given_up:
                    raise WaitGivenUp
                if asyncio.get_running_loop().time() > until:
                    minutes = self._settings.wait_seconds / 60
                    raise TooManyWait(f"No sandbox was free for {minutes:g} minutes; try again in a while.")
                before = queue.index(look)
                if before != told:
                    told = before
                    yield before
                look.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_SECONDS):
                        await look.wait()
        finally:
            queue.remove(look)
            for other in queue:
                other.set()  # each tells its new place

    async def _fits(self, new: bool) -> bool:
        while not self._has_room(new):
            if not await self._make_room(new):
                return self._running == 0 and not (new and self._live() >= self._settings.sandboxes)
        return True

    def _has_room(self, new: bool) -> bool:
        if new and self._live() >= self._settings.sandboxes:
            return False
        return self._spare_bytes() >= self._settings.cell_mib * MIB

    def spare_sandboxes(self, each_bytes: int) -> int:
        """For how many more that nobody asked for yet there is memory, beside one more cell."""
        if any(self._queues.values()):
            return 0
        return max(0, (self._spare_bytes() - self._settings.cell_mib * MIB) // each_bytes)

    def _spare_bytes(self) -> int:
        settings = self._settings
        total, available = self._machine()
        budget = settings.memory_mib * MIB if settings.memory_mib is not None else total * 7 // 10
        spoken_for = self._in_use() + self._running * settings.cell_mib * MIB
        return min(budget - spoken_for, available - settings.free_mib * MIB)


class MachineMemory:
    """This machine's, read again only when what was read is old: fifty cells may enter in one moment."""

    def __init__(self) -> None:
        self._sampled = (1 << 50, 1 << 50)
        self._at = -math.inf

    def sample(self) -> tuple[int, int]:
        """Bytes in all, and those available; where neither can be known, what never refuses."""
        now = time.monotonic()
        if now - self._at >= SAMPLE_SECONDS:
            self._sampled, self._at = machine_memory(), now
        return self._sampled


def machine_memory() -> tuple[int, int]:
    """Bytes of memory of this machine, and of it available; where neither can be known, what never refuses."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 1 << 50, 1 << 50
    values = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.endswith("kB")}
    return values.get("MemTotal", 1 << 50), values.get("MemAvailable", 1 << 50)
