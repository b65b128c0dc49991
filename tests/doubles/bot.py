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
from bot.commands import Commands
from bot.intake import Intake, IntakeLimits
from bot.memory_queue import MemoryTurnQueue
from bot.model import Attachment, IncomingMessage, Person, Receipt, ThreadKey
from bot.ports import Agent
from bot.secrets import Redactor
from bot.stops import Stops
from bot.store import SqlInbox, SqlOutbox, SqlTurns
from bot.turn import TurnLimits, TurnRunner
from sandbox import Limits
from sandbox.egress import Network
from sandbox.lease import Lease
from sandbox.service import SandboxService
from tests.doubles.database import new_database
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
    intake: Intake
    commands: Commands
    sandboxes: SandboxService
    artifacts: BlobArtifacts
    turns: SqlTurns
    runner: TurnRunner
    workspace: str
    count: int = 0

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
async def autogen_agent(model_url: str) -> AsyncIterator[AutoGenAgent]:
    agent = AutoGenAgent(model_settings(model_url))
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
) -> AsyncIterator[Bot]:
    """A bot in `folder`; without an agent it runs code as it is."""

    def clock() -> datetime:
        return datetime.now(UTC)

    database = await new_database(folder / "bot.sqlite")
    platform, stops = MemoryPlatform(), Stops()
    artifacts = BlobArtifacts(database, folder / "blobs", clock, Redactor([SECRET]))
    turns = SqlTurns(database, clock)
    limits = TurnLimits(
        seconds=turn_seconds,
        upload_bytes=1 << 20,
        cells=CellLimits(cpu_seconds=cpu_seconds, file_bytes=1 << 20, files=3),
    )
    queue = MemoryTurnQueue()
    try:
        runner = TurnRunner(
            turns=turns,
            outbox=SqlOutbox(database),
            artifacts=artifacts,
            sandboxes=sandboxes,
            agent=agent or DirectAgent(),
            platforms={platform.name: platform},
            stops=stops,
            limits=limits,
            redactor=Redactor([SECRET]),
        )
        await queue.start(runner)
        commands = Commands(stops, sandboxes)
        intake_limits = IntakeLimits(message_chars=1000, upload_bytes=1 << 20, turns_per_person=3)
        intake = Intake(SqlInbox(database, clock), queue, commands, intake_limits)
        yield Bot(platform, intake, commands, sandboxes, artifacts, turns, runner, os.urandom(4).hex())
    finally:
        await queue.aclose()
    await database.aclose()
