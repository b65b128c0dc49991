"""The turn queue without a database: for tests, and for a terminal, whose turns end with it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from bot.model import Json
from bot.turn import TurnRunner

log = structlog.get_logger()


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
    """The TurnQueue port in this process: a lock a thread keeps the order.

    `lost` is called when a turn broke off with an error, as when the database failed: nothing was said of its end.
    """

    def __init__(self) -> None:
        self.lost: Callable[[], None] = lambda: None
        self._tasks: set[asyncio.Task[None]] = set()
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
            task = asyncio.ensure_future(self._run(turn_id, thread_id))
            self._tasks.add(task)
            task.add_done_callback(self._done)

    async def aclose(self) -> None:
        """Cut off what runs."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, turn_id: str, thread_id: str) -> None:
        assert self._runner is not None  # noqa: S101 - enqueue comes after start
        async with self._order.setdefault(thread_id, asyncio.Lock()):
            await self._runner.run(turn_id, MemorySteps())

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("turn.lost", exc_info=error)
            self.lost()
