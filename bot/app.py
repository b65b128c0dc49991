"""The composition root: every part made once, in order, and closed in reverse."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

import structlog

from bot.agent.direct import DirectAgent
from bot.agent.lazy import LazyAgent
from bot.agent.settings import ModelSettings
from bot.artifacts import BlobArtifacts
from bot.cells import CellLimits
from bot.clock import utc_now
from bot.commands import Commands
from bot.delivery import Redelivery
from bot.folder import container_instance, locked, make_private
from bot.front import make_front
from bot.intake import Intake, IntakeLimits
from bot.memory_queue import MemoryTurnQueue
from bot.options import Effective, Options, Ranges
from bot.ports import Agent, Platform
from bot.sandbox_setup import make_blobs, make_engine, make_reach, make_service, make_snapshots, network_words
from bot.secrets import Redactor
from bot.settings import Settings
from bot.step_results import StepResults
from bot.stops import Stops
from bot.store import (
    Database,
    SqlChoices,
    SqlHistory,
    SqlMemos,
    SqlOutbox,
    SqlPeople,
    SqlRecords,
    SqlTurns,
)
from bot.turn import TurnLimits, TurnRunner
from bot.turn_work import WorkLimits
from sandbox.limits import MIB
from sandbox.service import OnExit

if TYPE_CHECKING:
    from bot.durable import DbosTurnQueue

log = structlog.get_logger()

T = TypeVar("T")

SWEEP_SECONDS = 30.0
FILES_SECONDS = 3600.0
# for a database that does not answer, before a turn is given up: somebody at a terminal looks on
PATIENCE_SECONDS, PATIENCE_OF_WHO_WAITS_SECONDS = 24 * 3600.0, 5.0
RESULTS_SECONDS = 6 * 3600.0
NO_KEY = "none"  # a local model server wants a key in the header, any key


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a platform needs of the app."""

    intake: Intake
    commands: Commands
    history: SqlHistory
    artifacts: BlobArtifacts
    people: SqlPeople
    choices: SqlChoices
    memos: SqlMemos


class App:
    """Use as an async context manager; `serve` then connects the platforms to the queue.

    With `durable` false turns are not resumed by a later process, for platforms that end with this one; turns of other
    platforms on the same data folder are then left alone. `on_exit` says what becomes of the sandboxes that were used.
    """

    def __init__(self, settings: Settings, *, durable: bool = True, on_exit: OnExit = "leave") -> None:
        self._settings = settings
        self._durable = durable
        self._on_exit = on_exit
        self._stack = AsyncExitStack()
        self._stops = Stops()
        self._redactor = Redactor(settings.secrets)
        self.parts: Parts

    async def __aenter__(self) -> Self:
        """Open everything but the queue. Raises AlreadyRunning, SandboxError."""
        try:
            await self._open()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def _open(self) -> None:
        settings = self._settings
        folder = settings.folder
        await asyncio.to_thread(make_private, folder)
        self._stack.callback(locked(folder).release)
        database = await Database.open(settings.database)
        self._stack.push_async_callback(database.aclose)
        self._turns = SqlTurns(database, utc_now)
        self._outbox = SqlOutbox(database, utc_now)
        artifacts = BlobArtifacts(database, folder / "artifacts", utc_now, self._redactor)
        engine = make_engine(settings, instance=container_instance(folder))
        self._stack.push_async_callback(engine.aclose)
        service = make_service(
            settings,
            engine,
            on_exit=self._on_exit,
            records=SqlRecords(database),
            snapshots=make_snapshots(settings),
            reach=await make_reach(settings, engine),
        )
        self._sandboxes = await self._stack.enter_async_context(service)
        self._artifacts = artifacts
        self._queue = self._make_queue(folder)
        self._front = make_front(
            database,
            self._queue,
            self._sandboxes,
            self._stops,
            make_options(settings),
            intake_limits(settings),
            utc_now,
        )
        self.parts = Parts(
            intake=self._front.intake,
            commands=self._front.commands,
            history=SqlHistory(database),
            artifacts=artifacts,
            people=self._front.people,
            choices=self._front.choices,
            memos=SqlMemos(database),
        )

    def _make_queue(self, folder: Path) -> DbosTurnQueue | MemoryTurnQueue:
        if not self._durable:
            return MemoryTurnQueue()
        from bot.durable import DbosTurnQueue  # a second of imports, which a process that ends with its answer saves

        url = f"sqlite:///{folder / 'turns.sqlite'}"
        results = StepResults(make_blobs(self._settings))
        return DbosTurnQueue(database_url=url, results=results, turns_at_once=self._settings.turns_at_once)

    async def enter(self, context: AbstractAsyncContextManager[T]) -> T:
        """Open what platforms need; it is closed after the queue, so that replies go out to the end."""
        return await self._stack.enter_async_context(context)

    async def serve(self, platforms: Mapping[str, Platform], *, lost: Callable[[], None] = lambda: None) -> None:
        """Answer the queue's turns on these platforms until closed. A queue in memory calls `lost` if one breaks."""
        agent = make_agent(self._settings)
        runner = TurnRunner(
            turns=self._turns,
            outbox=self._outbox,
            artifacts=self._artifacts,
            sandboxes=self._sandboxes,
            agent=agent,
            platforms=platforms,
            stops=self._stops,
            limits=turn_limits(self._settings, durable=self._durable),
            redactor=self._redactor,
            waiting=self._front.waiting,
            options=self._front.effective,
            ended=self._front.releases.turn_ended,
        )
        for platform in platforms.values():
            if not platform.outlives_us:
                await self.parts.intake.abandon(platform)
        if isinstance(agent, LazyAgent):  # closed after the queue: a turn that is cut off must not see it fail
            self._stack.push_async_callback(agent.aclose)
        await self._queue.start(runner)
        self._stack.push_async_callback(self._queue.aclose)
        group = await self._stack.enter_async_context(asyncio.TaskGroup())
        if isinstance(agent, LazyAgent):
            group.create_task(agent.load(), name="agent-loading")
        self._stack.callback(group.create_task(self._front.releases.run(), name="releases").cancel)
        if isinstance(self._queue, MemoryTurnQueue):
            self._queue.lost = lost
            return
        for name, seconds, sweep in (
            ("turns", SWEEP_SECONDS, self.parts.intake.sweep),
            ("replies", SWEEP_SECONDS, Redelivery(self._outbox, platforms).sweep),
            ("results", RESULTS_SECONDS, self._queue.forget_results),
            ("files", FILES_SECONDS, self._forget_files),
        ):
            sweeper = group.create_task(_sweep_forever(sweep, name, seconds), name=f"sweeper-{name}")
            self._stack.callback(sweeper.cancel)

    async def _forget_files(self) -> int:
        before = utc_now() - timedelta(days=self._settings.files_days)
        return await self._artifacts.forget(before, self._settings.files_mib * MIB)

    async def __aexit__(self, *error: object) -> None:
        """Close everything in reverse order; turns that run, and their cells, are left for the next start."""
        self._sandboxes.leave_running()
        await self._stack.aclose()


async def _sweep_forever(sweep: Callable[[], Awaitable[int]], name: str, seconds: float) -> None:
    while True:
        try:
            await sweep()
        except Exception:  # a database that fails now may work in half a minute
            log.exception("sweep.failed", of=name)
        await asyncio.sleep(seconds)


def make_agent(settings: Settings) -> Agent:
    """The agent with the configured model, or the one that runs code as it is."""
    if not settings.has_model:
        return DirectAgent()
    key = settings.openai_api_key.get_secret_value() if settings.openai_api_key else NO_KEY
    return LazyAgent(
        ModelSettings(
            model=settings.model,
            api_key=key,
            base_url=settings.openai_base_url,
            timeout_seconds=settings.model_timeout_seconds,
            max_output_tokens=settings.model_max_output_tokens,
            context_tokens=settings.model_context_tokens,
            temperature=settings.model_temperature,
            vision=settings.model_vision,
            tools=settings.model_tools,
            turn_rounds=settings.turn_rounds,
            turn_tokens=settings.turn_tokens,
            network=network_words(settings),
        )
    )


def intake_limits(settings: Settings) -> IntakeLimits:
    """The intake's slice of the settings."""
    return IntakeLimits(
        message_chars=settings.message_chars,
        upload_bytes=settings.upload_mib * MIB,
        turns_per_person=settings.turns_per_person,
        running_per_person=settings.turns_running_per_person,
    )


def turn_limits(settings: Settings, *, durable: bool) -> TurnLimits:
    """A turn's slice of the settings."""
    return TurnLimits(
        seconds=settings.turn_seconds,
        patience_seconds=PATIENCE_SECONDS if durable else PATIENCE_OF_WHO_WAITS_SECONDS,
        work=WorkLimits(
            upload_bytes=settings.upload_mib * MIB,
            cells=CellLimits(
                cpu_seconds=settings.turn_cpu_seconds,
                file_bytes=settings.reply_file_mib * MIB,
                files=settings.reply_files,
                files_bytes=settings.turn_files_mib * MIB,
            ),
        ),
    )


def make_options(settings: Settings) -> Options:
    """What people may choose, within the operator's bounds."""
    models = tuple(dict.fromkeys([settings.model, *settings.models.replace(",", " ").split()]))
    return Options(
        Effective(
            model=settings.model,
            timeout=settings.cell_timeout_seconds,
            cpu_seconds=settings.turn_cpu_seconds,
            network=settings.network,
        ),
        Ranges(
            models=models,
            networks=tuple(dict.fromkeys(["off", settings.network])),
            most_timeout=max(settings.cell_timeout_most_seconds, settings.cell_timeout_seconds),
            most_cpu_seconds=settings.turn_cpu_seconds,
        ),
    )
