"""What several suites share: the engines, and what to do when a service is missing."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest

from sandbox.engine import DockerEngine, connect
from sandbox.errors import SandboxError
from sandbox.image_build import ImageSource, ensure_image
from tests.doubles.process_engine import ProcessEngine

os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"  # loopback servers are reached directly
CI = os.environ.get("CI") == "true"


def missing(service: str, error: object) -> None:
    """A missing service skips at home and fails in CI."""
    if CI:
        pytest.fail(f"{service} is missing: {error}")
    pytest.skip(f"{service} is missing: {error}")


@pytest.fixture(scope="session")
def image() -> str:
    """The sandbox image's tag, built if need be."""
    try:
        connect().close()
        return ensure_image(ImageSource(environment=os.environ), print)
    except SandboxError as error:
        missing("the Docker Engine", error)
        raise


@pytest.fixture
async def docker_engine(image: str) -> AsyncIterator[DockerEngine]:
    """The real engine; a test that leaves a container behind fails."""
    engine = DockerEngine(image=image, instance=f"test-{os.urandom(4).hex()}")
    yield engine
    left = await engine.containers()
    for container in left:
        await engine.remove(container.container_id)
    await engine.aclose()
    assert left == []


@pytest.fixture
async def process_engine() -> AsyncIterator[ProcessEngine]:
    """The engine without Docker."""
    engine = ProcessEngine()
    yield engine
    await engine.aclose()
