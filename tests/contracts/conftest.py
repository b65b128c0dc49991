"""The engines that the sandbox's contract holds for, one each for a module's tests."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from sandbox import Engine
from sandbox.engine import DockerEngine
from tests.doubles.process_engine import ProcessEngine

CONTAINERS = [pytest.param(name, marks=pytest.mark.docker) for name in ("docker", "gvisor")]


@pytest_asyncio.fixture(params=["process", *CONTAINERS], scope="module", loop_scope="module")
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    """A module that leaves a container behind fails."""
    if request.param == "process":
        process_engine = ProcessEngine()
        yield process_engine
        await process_engine.aclose()
        return
    if request.param == "gvisor":
        engine = request.getfixturevalue("gvisor").connect("test")
    else:
        engine = DockerEngine(image=request.getfixturevalue("image"), instance=f"test-{os.urandom(4).hex()}")
    yield engine
    assert await engine.containers() == []
    await engine.aclose()
