"""The engines that the sandbox's contract holds for, one each for a module's tests."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from sandbox import Engine
from sandbox.engine import DockerEngine
from tests.doubles.process_engine import ProcessEngine, execute, fork


@pytest_asyncio.fixture(
    params=["process", pytest.param("docker", marks=pytest.mark.docker)], scope="module", loop_scope="module"
)
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    """A module that leaves a container behind fails. `process`: forked from a template, see test_start."""
    if request.param == "docker":
        image = request.getfixturevalue("image")
        docker_engine = DockerEngine(image=image, instance=f"test-{os.urandom(4).hex()}")
        yield docker_engine
        assert await docker_engine.containers() == []
        await docker_engine.aclose()
        return
    process_engine = ProcessEngine(execute if request.param == "executed" else fork)
    yield process_engine
    await process_engine.aclose()
