"""The whole bot without Docker and without DBOS: real store, real agent, real kernel, platform and queue in memory."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bot.agent.autogen import AutoGenAgent
from bot.agent.direct import DirectAgent
from bot.agent.settings import ModelSettings
from bot.artifacts import BlobArtifacts
from bot.cells import CellLimits
from bot.front import Front, make_front
from bot.intake import Intake, IntakeLimits
from bot.memory_queue import MemoryTurnQueue
from bot.model import Attachment, IncomingMessage, Person, Receipt, ThreadKey
from bot.options import Effective, Options, Ranges
from bot.ports import Agent, Platform
from bot.secrets import Redactor
from bot.stops import Stops
from bot.store import Database, SqlHistory, SqlOutbox, SqlTurns
from bot.turn import TurnLimits, TurnRunner
from bot.turn_work import WorkLimits
from sandbox import Limits
from sandbox.lease import Lease
from sandbox.service import SandboxService
from tests.doubles.database import new_database
from tests.doubles.platform import MemoryPlatform

SECRET = "sk-the-bots-own-key"


class SharedSandboxes(SandboxService):
    """Threads of the same name in different workspaces share a sandbox: tests start an interpreter once, not each."""

    def lease(self, key: str, limits: Limits | None = None, **given: Any) -> AbstractAsyncContextManager[Lease]:
        platform, _, *rest = key.split("/")
        shared = "/".join((platform, *rest)) if platform == "memory" else key
        return super().lease(shared, limits, **given)


@dataclass
class Bot:
    """What a test drives."""

    platform: MemoryPlatform
    front: Front
    sandboxes: SandboxService
    artifacts: BlobArtifacts
    turns: SqlTurns
    runner: TurnRunner
    workspace: str
    count: int = 0

    @property
    def intake(self) -> Intake:
        return self.front.intake

    def message(self, text: str, thread: str = "t", attachments: tuple[Attachment, ...] = ()) -> IncomingMessage:
        self.count += 1
        return IncomingMessage(
            key=ThreadKey(platform="memory", workspace=self.workspace, channel="c", thread=thread),
            message_id=str(self.count),
            author=Person(id="p", name="Ada"),
            text=text,
            sent_at=datetime.now(UTC),
            for_us=True,
            attachments=attachments,
        )

    async def say(self, text: str, thread: str = "t", attachments: tuple[Attachment, ...] = ()) -> Receipt:
        """A message taken in; its turn goes on."""
        return await self.intake.take(self.message(text, thread, attachments), self.platform)

    async def ask(self, text: str, thread: str = "t", attachments: tuple[Attachment, ...] = ()) -> str:
        """A message and how its turn ended."""
        sent = self.message(text, thread, attachments)
        await self.intake.take(sent, self.platform)
        return await self.platform.ended(sent.message_id)


def some_options() -> Options:
    return Options(
        Effective(model="scripted", timeout=20),
        Ranges(models=("scripted", "other"), networks=("off",), most_timeout=60, most_cpu_seconds=300),
    )


def model_settings(url: str) -> ModelSettings:
    return ModelSettings(
        model="scripted",
        api_key="key",
        base_url=url,
        timeout_seconds=10,
        max_output_tokens=500,
        context_tokens=8000,
        temperature=0,
        vision=False,
        tools=True,
        turn_rounds=5,
        turn_tokens=100_000,
    )


@dataclass
class Parts:
    """A bot without a platform of its own; `platforms` may be filled while it runs."""

    front: Front
    sandboxes: SandboxService
    artifacts: BlobArtifacts
    turns: SqlTurns
    runner: TurnRunner
    history: SqlHistory
    platforms: dict[str, Platform]


def now() -> datetime:
    return datetime.now(UTC)


@asynccontextmanager
async def running_parts(
    folder: Path,
    sandboxes: SandboxService,
    *,
    agent: Agent | None = None,
    turn_seconds: float = 60,
    cpu_seconds: float = 60,
    turns_per_person: int = 3,
    running_per_person: int = 50,
) -> AsyncIterator[Parts]:
    """Everything behind the platforms; without an agent it runs code as it is."""
    path = folder / "bot.sqlite"
    database = await (Database.open(f"sqlite+aiosqlite:///{path}") if path.exists() else new_database(path))
    stops = Stops()
    platforms: dict[str, Platform] = {}
    artifacts = BlobArtifacts(database, folder / "blobs", now, Redactor([SECRET]))
    turns = SqlTurns(database, now)
    cells = CellLimits(cpu_seconds=cpu_seconds, file_bytes=1 << 20, files=3, files_bytes=2 << 20)
    queue = MemoryTurnQueue()
    intake_limits = IntakeLimits(
        message_chars=1000,
        upload_bytes=1 << 20,
        turns_per_person=turns_per_person,
        running_per_person=running_per_person,
    )
    front = make_front(database, queue, sandboxes, stops, some_options(), intake_limits, now)
    runner = TurnRunner(
        turns=turns,
        outbox=SqlOutbox(database, now),
        artifacts=artifacts,
        sandboxes=sandboxes,
        agent=agent or DirectAgent(),
        platforms=platforms,
        stops=stops,
        limits=TurnLimits(
            seconds=turn_seconds, patience_seconds=60, work=WorkLimits(upload_bytes=1 << 20, cells=cells)
        ),
        redactor=Redactor([SECRET]),
        waiting=front.waiting,
        options=front.effective,
        ended=front.releases.turn_ended,
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(database.aclose)
        stack.push_async_callback(queue.aclose)
        await queue.start(runner)
        stack.callback(asyncio.ensure_future(front.releases.run()).cancel)
        yield Parts(front, sandboxes, artifacts, turns, runner, SqlHistory(database), platforms)


@asynccontextmanager
async def autogen_agent(model_url: str, timeout_seconds: float = 10) -> AsyncIterator[AutoGenAgent]:
    agent = AutoGenAgent(replace(model_settings(model_url), timeout_seconds=timeout_seconds))
    yield agent
    await agent.aclose()


@asynccontextmanager
async def running_bot(
    folder: Path,
    sandboxes: SandboxService,
    *,
    agent: Agent | None = None,
    turn_seconds: float = 60,
    cpu_seconds: float = 60,
    running_per_person: int = 50,
) -> AsyncIterator[Bot]:
    """A bot in `folder` with a platform in memory; without an agent it runs code as it is."""
    async with running_parts(
        folder,
        sandboxes,
        agent=agent,
        turn_seconds=turn_seconds,
        cpu_seconds=cpu_seconds,
        running_per_person=running_per_person,
    ) as parts:
        platform = parts.platforms["memory"] = MemoryPlatform()
        workspace = os.urandom(4).hex()
        yield Bot(platform, parts.front, sandboxes, parts.artifacts, parts.turns, parts.runner, workspace)
