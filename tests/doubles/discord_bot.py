"""The real Discord adapter on a loopback Discord, in front of the whole bot."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import delete

import adapters.discord.client
from adapters.discord import DiscordConfig
from adapters.discord.server import Discord, DiscordStore, discord_platform
from bot.core import Core
from bot.store import SqlMemos
from bot.store.schema import options
from sandbox.service import SandboxService
from tests.doubles.bot import Parts, now, running_parts
from tests.doubles.discord_people import People
from tests.doubles.discord_server import TOKEN, DiscordServer


@dataclass
class DiscordBot:
    """What a test drives."""

    server: DiscordServer
    people: People
    parts: Parts
    discord: Discord
    words: str

    async def as_new(self) -> DiscordBot:
        """Forget what an earlier test did: a module's tests share one connection."""
        self.server.as_new()
        self.discord._calls._refused.clear()
        async with self.parts.front.choices._database.begin() as connection:
            await connection.execute(delete(options))
        return self


def config(server: DiscordServer, **more: Any) -> DiscordConfig:
    return DiscordConfig(**{"token": TOKEN, "api_url": server.api_url, "gateway_url": server.gateway_url, **more})


def core_of(parts: Parts) -> Core:
    return Core(
        intake=parts.front.intake,
        commands=parts.front.commands,
        history=parts.history,
        choices=parts.front.choices,
        clock=now,
    )


def store_of(parts: Parts) -> DiscordStore:
    memos = SqlMemos(parts.front.choices._database)
    return DiscordStore(artifacts=parts.artifacts, people=parts.front.people, memos=memos)


@asynccontextmanager
async def discord_bot(
    folder: Path, sandboxes: SandboxService, server: DiscordServer, *, settings: Any = None, **more: Any
) -> AsyncIterator[DiscordBot]:
    """A bot in `folder`, connected to our own loopback Discord."""
    adapters.discord.client.GUILDS_SECONDS = 0.05
    async with running_parts(folder, sandboxes, **{"turns_per_person": 50, **more}) as parts:
        made = discord_platform(config(server, **(settings or {})), store_of(parts), parts.front.commands)
        async with made as connected:
            connected.platform.edit_seconds, connected.platform.hold_seconds = 0.05, 0.0
            parts.platforms["discord"] = connected.platform
            async with connected.serving(core_of(parts)) as words:
                yield DiscordBot(server, People(server), parts, connected, words)
