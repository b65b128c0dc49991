"""The whole bot without Docker and without DBOS: real store, real agent, real kernel, platform and queue in memory."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

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
from bot.ports import Agent
from bot.secrets import Redactor
from bot.stops import Stops
from bot.store import Database, SqlOutbox, SqlTurns
from bot.turn import TurnLimits, TurnRunner
from bot.turn_work import WorkLimits
from sandbox import Limits
from sandbox.egress import Network
from sandbox.lease import Lease
from sandbox.service import SandboxService
from tests.doubles.platform import MemoryPlatform

SECRET = "sk-the-bots-own-key"


class SharedSandboxes(SandboxService):
    """Threads of the same name in different workspaces share a sandbox: tests start an interpreter once, not each."""

    def lease(
        self, key: str, limits: Limits | None = None, *, owner: str = "", network: Network | None = None
    ) -> AbstractAsyncContextManager[Lease]:
        platform, _, *rest = key.split("/")
        return super().lease("/".join((platform, *rest)), limits, owner=owner, network=network)


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


@asynccontextmanager
async def running_bot(
    folder: Path,
    sandboxes: SandboxService,
    *,
    model_url: str | None = None,
    turn_seconds: float = 60,
    cpu_seconds: float = 60,
) -> AsyncIterator[Bot]:
    """A bot in `folder`; without a model's address it runs code as it is."""

    def clock() -> datetime:
        return datetime.now(UTC)

    database = await Database.open(f"sqlite+aiosqlite:///{folder / 'bot.sqlite'}")
    agent: Agent = AutoGenAgent(model_settings(model_url)) if model_url else DirectAgent()
    platform, stops = MemoryPlatform(), Stops()
    artifacts = BlobArtifacts(database, folder / "blobs", clock, Redactor([SECRET]))
    turns = SqlTurns(database, clock)
    limits = TurnLimits(
        seconds=turn_seconds,
        work=WorkLimits(upload_bytes=1 << 20, cells=CellLimits(cpu_seconds=cpu_seconds, file_bytes=1 << 20, files=3)),
    )
    queue = MemoryTurnQueue()
    intake_limits = IntakeLimits(message_chars=1000, upload_bytes=1 << 20, turns_per_person=3)
    front = make_front(database, queue, sandboxes, stops, some_options(), intake_limits, clock)
    try:
        runner = TurnRunner(
            turns=turns,
            outbox=SqlOutbox(database),
            artifacts=artifacts,
            sandboxes=sandboxes,
            agent=agent,
            platforms={platform.name: platform},
            stops=stops,
            limits=limits,
            redactor=Redactor([SECRET]),
            waiting=front.waiting,
            options=front.effective,
        )
        await queue.start(runner)
        yield Bot(platform, front, sandboxes, artifacts, turns, runner, os.urandom(4).hex())
    finally:
        await queue.aclose()
    if isinstance(agent, AutoGenAgent):
        await agent.aclose()
    await database.aclose()
