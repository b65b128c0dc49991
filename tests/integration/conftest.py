"""A scripted model server, and bots that share the sandboxes of a module: an interpreter is started once for all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from sandbox import Limits
from sandbox.service import SandboxService
from tests.doubles.bot import Bot, SharedSandboxes, running_bot
from tests.doubles.model_server import ModelServer, model_server
from tests.doubles.process_engine import ProcessEngine


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with model_server() as running:
        yield running


@pytest.fixture
def model(server: ModelServer) -> ModelServer:
    server.script.clear()
    server.requests.clear()
    return server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandboxes() -> AsyncIterator[SandboxService]:
    engine = ProcessEngine()
    async with SharedSandboxes(engine, limits=Limits(timeout_seconds=10)) as service:
        yield service
    await engine.aclose()


@pytest_asyncio.fixture(loop_scope="module")
async def bot(tmp_path: Path, sandboxes: SandboxService, model: ModelServer) -> AsyncIterator[Bot]:
    async with running_bot(tmp_path, sandboxes, model_url=model.url) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def direct(tmp_path: Path, sandboxes: SandboxService) -> AsyncIterator[Bot]:
    async with running_bot(tmp_path, sandboxes) as running:
        yield running
