"""One sandbox a module, since starting takes longer than most attacks; a test that ruins it takes one of its own."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest_asyncio

from sandbox import Limits, Sandbox
from sandbox.engine import DockerEngine
from sandbox.errors import SandboxError
from tests.hostile.runs import run

LIMITS = Limits(memory_mib=256, workspace_mib=64, timeout_seconds=20, start_seconds=3)
EMPTY = "find /workspace /tmp /dev/shm -mindepth 1 -maxdepth 1 ! -name .tmp -exec rm -rf -- {} +"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(image: str) -> AsyncIterator[DockerEngine]:
    """The real engine; a module that leaves a container behind fails."""
    engine = DockerEngine(image=image, instance=f"hostile-{os.urandom(4).hex()}")
    yield engine
    left = await engine.containers()
    for container in left:
        await engine.remove(container.container_id)
    await engine.aclose()
    assert left == []


async def start(engine: DockerEngine, limits: Limits = LIMITS) -> Sandbox:
    return await Sandbox.start(engine, f"hostile-{os.urandom(4).hex()}", limits)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(engine: DockerEngine) -> AsyncIterator[list[Sandbox]]:
    """The sandbox of the tests so far; empty once a test has lost it."""
    sandboxes: list[Sandbox] = []
    yield sandboxes
    for sandbox in sandboxes:
        await sandbox.remove()


@pytest_asyncio.fixture(loop_scope="module")
async def sandbox(engine: DockerEngine, shared: list[Sandbox]) -> AsyncIterator[Sandbox]:
    """A live sandbox with empty folders, perhaps with an interpreter that has run other tests."""
    if not shared:
        shared.append(await start(engine))
    yield shared[0]
    try:
        _, end = await run(shared[0], EMPTY, "bash")
        clean = end.status == "ok"
    except SandboxError:
        clean = False
    if not clean:
        await shared.pop().remove()


@pytest_asyncio.fixture(loop_scope="module")
async def own(engine: DockerEngine) -> AsyncIterator[Sandbox]:
    """A sandbox for one test, which may leave threads, processes and ruins in it."""
    sandbox = await start(engine)
    yield sandbox
    await sandbox.remove()
