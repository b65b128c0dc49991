"""The turn queue without a database: for tests, and for a single turn that nobody will want to resume."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from bot.model import Json
from bot.turn import TurnRunner


class MemorySteps:
    """The Steps port with a record that may be handed to another life of the turn."""

    def __init__(self, record: dict[str, Json] | None = None) -> None:
        self.record = record if record is not None else {}

    async def step(self, name: str, work: Callable[[], Awaitable[Json]]) -> Json:
        """See bot.ports.Steps."""
        if name not in self.record:
            self.record[name] = await work()
        return self.record[name]


class MemoryTurnQueue:
    """The TurnQueue port in this process: a lock a thread keeps the order."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._runner: TurnRunner | None = None
        self._seen: set[str] = set()
        self._order: dict[str, asyncio.Lock] = {}

    async def start(self, runner: TurnRunner) -> None:
        """Serve from now on."""
        self._runner = runner

    async def enqueue(self, turn_id: str, thread_id: str) -> None:
        """See bot.ports.TurnQueue."""
        if turn_id not in self._seen:
            self._seen.add(turn_id)
            self._group.create_task(self._run(turn_id, thread_id), name=turn_id)

    async def _run(self, turn_id: str, thread_id: str) -> None:
        assert self._runner is not None  # noqa: S101 - enqueue comes after start
        async with self._order.setdefault(thread_id, asyncio.Lock()):
            await self._runner.run(turn_id, MemorySteps())
