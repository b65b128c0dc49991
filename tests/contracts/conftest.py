"""The engines that the sandbox's contract holds for, one each for a module's tests."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from sandbox import Engine, Limits, Sandbox
from sandbox.engine import DockerEngine
from tests.contracts.runs import run
from tests.doubles.process_engine import ProcessEngine, execute, fork

if TYPE_CHECKING:
    from bot.store import Database

CONTAINERS = [pytest.param(name, marks=pytest.mark.docker) for name in ("docker", "gvisor")]


@pytest_asyncio.fixture(params=["process", *CONTAINERS], scope="module", loop_scope="module")
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    """A module that leaves a container behind fails. `process`: forked from a template, see test_start."""
    if request.param in ("process", "executed"):
        process_engine = ProcessEngine(execute if request.param == "executed" else fork)
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


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(engine: Engine) -> AsyncIterator[list[Sandbox]]:
    """The sandbox of the tests so far; empty once a test has lost it."""
    sandboxes: list[Sandbox] = []
    yield sandboxes
    for sandbox in sandboxes:
        await sandbox.remove()


@pytest_asyncio.fixture(loop_scope="module")
async def sandbox(engine: Engine, shared: list[Sandbox]) -> AsyncIterator[Sandbox]:
    """A live sandbox with an interpreter and an empty workspace."""
    if not shared:
        shared.append(
            await Sandbox.start(
                engine, f"contract-{os.urandom(4).hex()}", Limits(timeout_seconds=20, interrupt_seconds=0.5)
            )
        )
    yield shared[0]
    if shared[0].is_alive:
        await run(shared[0], "rm -rf -- *", "bash")
    else:
        await shared.pop().remove()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """The store's, empty; imported only here, since most contracts are the library's."""
    from bot.store import Database
    from tests.doubles.database import new_database

    if request.param == "postgres":
        database = await Database.open(request.getfixturevalue("new_postgres_url")())
    else:
        database = await new_database(tmp_path / "store.sqlite")
    yield database
    await database.aclose()
