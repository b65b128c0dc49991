"""The real Slack adapter on a loopback Slack, in front of the whole bot."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import delete

from adapters.slack import SlackConfig
from adapters.slack.calls import SlackCalls
from adapters.slack.listeners import SlackListeners
from adapters.slack.server import Slack, SlackStore, slack
from bot.budget import Rate
from bot.core import Core
from bot.store.schema import options
from sandbox.service import SandboxService
from tests.doubles.bot import Parts, now, running_parts
from tests.doubles.slack_people import People
from tests.doubles.slack_server import APP_TOKEN, BOT_TOKEN, SECRET, SlackServer


@dataclass
class SlackBot:
    """What a test drives."""

    server: SlackServer
    people: People
    parts: Parts
    listeners: SlackListeners
    calls: SlackCalls

    async def as_new(self) -> SlackBot:
        """Forget what an earlier test did: a module's tests share one connection, which costs more than most of them."""
        self.server.as_new()
        self.listeners._heard.clear()
        self.calls._lacks.clear()
        async with self.parts.front.choices._database.begin() as connection:
            await connection.execute(delete(options))
        return self


def quick(bucket: str) -> Rate:
    """No limits to speak of."""
    return Rate(calls=10_000, seconds=1, burst=10_000)


def config(url: str, *, http: bool = False) -> SlackConfig:
    return SlackConfig(
        bot_token=BOT_TOKEN,
        app_token=None if http else APP_TOKEN,
        signing_secret=SECRET if http else None,
        api_url=f"{url}/api/",
        host="127.0.0.1",
        port=0,
    )


@asynccontextmanager
async def _connected(
    settings: SlackConfig, folder: Path, sandboxes: SandboxService, rates: Any, more: dict[str, Any]
) -> AsyncIterator[tuple[Parts, str, Slack]]:
    async with running_parts(folder, sandboxes, **{"turns_per_person": 50, **more}) as parts:
        store = SlackStore(artifacts=parts.artifacts, people=parts.front.people)
        async with slack(settings, store, rates) as connected:
            connected.platform.edit_seconds, connected.platform.hold_seconds = 0.02, 0.0
            parts.platforms["slack"] = connected.platform
            core = Core(
                intake=parts.front.intake,
                commands=parts.front.commands,
                history=parts.history,
                choices=parts.front.choices,
                clock=now,
            )
            async with connected.serving(core) as words:
                yield parts, words.rpartition(" ")[2] + "/slack/events", connected


@asynccontextmanager
async def slack_bot(
    folder: Path, sandboxes: SandboxService, server: SlackServer, *, http: bool = False, rates: Any = quick, **more: Any
) -> AsyncIterator[SlackBot]:
    """A bot in `folder`, connected to our own loopback Slack."""
    settings = config(server.api.url, http=http)
    async with _connected(settings, folder, sandboxes, rates, more) as (parts, events, connected):
        server.events_url = events if http else ""
        yield SlackBot(server, People(server), parts, connected.listeners, connected._calls)


@asynccontextmanager
async def slack_bot_at(url: str, folder: Path, sandboxes: SandboxService, **more: Any) -> AsyncIterator[str]:
    """A bot in `folder`, connected by HTTP to some other Slack; where it takes events."""
    async with _connected(config(url, http=True), folder, sandboxes, quick, more) as (_, events, _):
        yield events
