"""A scripted model server, and bots that share the sandboxes and the model client of a module.

The bot is imported where a test asks for one: the tests of the sandbox alone are spared its two seconds.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from sandbox import Engine, Limits
from sandbox.engine import DockerEngine
from sandbox.pool import PoolSettings
from tests.doubles.process_engine import ProcessEngine

if TYPE_CHECKING:
    from bot.ports import Agent
    from sandbox.service import SandboxService
    from tests.doubles.bot import Bot
    from tests.doubles.discord_bot import DiscordBot
    from tests.doubles.model_server import ModelServer
    from tests.doubles.simulated_discord import Simulated
    from tests.doubles.slack_bot import SlackBot


@pytest.fixture(params=["process", pytest.param("docker", marks=pytest.mark.docker)])
def engine(request: pytest.FixtureRequest) -> Engine:
    """Both: what holds without containers holds with them."""
    found: Engine = request.getfixturevalue(f"{request.param}_engine")
    return found


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    from tests.doubles.model_server import model_server

    with model_server() as running:
        yield running


@pytest.fixture
def model(server: ModelServer) -> ModelServer:
    server.script.clear()
    server.requests.clear()
    return server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandboxes(request: pytest.FixtureRequest) -> AsyncIterator[SandboxService]:
    """Real containers in a module that is marked `docker`, processes elsewhere."""
    from tests.doubles.bot import SharedSandboxes

    if request.node.get_closest_marker("docker") is not None:
        async with _containers(request.getfixturevalue("image")) as service:
            yield service
        return
    engine = ProcessEngine()
    async with SharedSandboxes(engine, limits=Limits(timeout_seconds=10)) as service:
        yield service
    await engine.aclose()


@asynccontextmanager
async def _containers(image: str) -> AsyncIterator[SandboxService]:
    from sandbox.service import SandboxService, ServiceSettings

    engine = DockerEngine(image=image, instance=f"test-{os.urandom(4).hex()}")
    settings = ServiceSettings(pool=PoolSettings(least=1, most=2))
    async with SandboxService(engine, limits=Limits(timeout_seconds=10), settings=settings) as service:
        yield service
    assert await engine.containers() == []
    await engine.aclose()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def agent(server: ModelServer) -> AsyncIterator[Agent]:
    """It keeps nothing of a turn but its connections to the model's server."""
    from tests.doubles.bot import autogen_agent

    async with autogen_agent(server.url) as agent:
        yield agent


@pytest_asyncio.fixture(loop_scope="module")
async def bot(tmp_path: Path, sandboxes: SandboxService, model: ModelServer, agent: Agent) -> AsyncIterator[Bot]:
    from tests.doubles.bot import running_bot

    async with running_bot(tmp_path, sandboxes, agent=agent) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def direct(tmp_path: Path, sandboxes: SandboxService) -> AsyncIterator[Bot]:
    from tests.doubles.bot import running_bot

    async with running_bot(tmp_path, sandboxes) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def connected(
    tmp_path_factory: pytest.TempPathFactory, sandboxes: SandboxService, agent: Agent
) -> AsyncIterator[SlackBot]:
    """The Slack adapter on a loopback Slack, by Socket Mode."""
    from tests.doubles.slack_bot import slack_bot
    from tests.doubles.slack_server import slack_server

    folder = tmp_path_factory.mktemp("slack")
    async with slack_server() as server, slack_bot(folder, sandboxes, server, agent=agent) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def connected_discord(
    tmp_path_factory: pytest.TempPathFactory, sandboxes: SandboxService, agent: Agent
) -> AsyncIterator[DiscordBot]:
    """The Discord adapter on a loopback Discord that sets no limits."""
    from tests.doubles.discord_bot import discord_bot
    from tests.doubles.discord_server import discord_server

    folder = tmp_path_factory.mktemp("discord")
    async with discord_server() as server, discord_bot(folder, sandboxes, server, agent=agent) as running:
        server.limited = False
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def simulated(tmp_path: Path, sandboxes: SandboxService) -> AsyncIterator[Simulated]:
    """The Discord adapter in a simulated Discord; it runs code as it is."""
    from tests.doubles.simulated_discord import simulated_discord

    async with simulated_discord(tmp_path, sandboxes) as running:
        yield running
        assert running.pinged() <= {running.ada.id, running.bob.id, running.root.id}
        assert running.violations() == []
