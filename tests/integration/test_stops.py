"""Stop reaches whatever a turn waits for; a database that is away for a moment costs nobody a message."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from bot.model import Notice
from bot.text import STOPPING
from sandbox import Limits
from sandbox.admission import AdmissionSettings
from sandbox.contract import Outcome
from sandbox.errors import WaitGivenUp
from sandbox.service import SandboxService, ServiceSettings
from tests.doubles.bot import Bot, running_bot
from tests.doubles.process_engine import ProcessEngine
from tests.integration.test_service import output

# one loop for the module: its tests share the sandboxes of tests/integration/conftest.py
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def full() -> AsyncIterator[SandboxService]:
    """A service with one place."""
    engine = ProcessEngine()
    settings = ServiceSettings(admission=AdmissionSettings(sandboxes=1, wait_seconds=300))
    async with SandboxService(engine, limits=Limits(timeout_seconds=30), settings=settings) as service:
        yield service
    await engine.aclose()


async def test_stop_ends_a_turn_that_waits_for_a_sandbox_and_its_code_never_runs(
    full: SandboxService, tmp_path: Path
) -> None:
    async with full.lease("busy") as busy, running_bot(tmp_path, full) as bot:
        await busy.sandbox()
        sent = bot.message(f"```\nopen({str(tmp_path / 'ran')!r}, 'w')\n```")
        await bot.intake.take(sent, bot.platform)
        await bot.platform.shows("All sandboxes are busy")

        async with asyncio.timeout(2):
            answer = await bot.front.commands.stop(sent.key)
            ended = await bot.platform.ended(sent.message_id)

    assert (answer, ended) == (STOPPING, "stopped")
    assert bot.platform.text().endswith("Stopped.")
    assert not (tmp_path / "ran").exists()


async def test_stop_ends_the_wait_of_a_thread_that_comes_back(full: SandboxService, tmp_path: Path) -> None:
    async with running_bot(tmp_path, full) as bot:
        await bot.ask("```\nx = 41\n```")
        (name,) = full.entries
        async with full.lease(name) as lease:
            await lease.put_away()
        async with full.lease("busy") as busy:
            await busy.sandbox()
            sent = bot.message("```\nprint(x)\n```")
            await bot.intake.take(sent, bot.platform)
            await bot.platform.shows("All sandboxes are busy")

            async with asyncio.timeout(2):
                await bot.front.commands.stop(sent.key)
                ended = await bot.platform.ended(sent.message_id)

        assert ended == "stopped"
        assert await bot.ask("```\nprint(x)\n```") == "done"  # what was saved is still there
        assert "41" in bot.platform.text()


async def test_a_wait_that_was_given_up_is_not_the_next_ones(full: SandboxService) -> None:
    async with full.lease("busy") as busy, full.lease("waits") as lease:
        await busy.sandbox()
        run = lease.run("1")
        assert not isinstance(await anext(run), Outcome)
        lease.interrupt()
        given_up = await anext(run)
        opening = asyncio.ensure_future(lease.sandbox())
        waiting = asyncio.Event()
        lease.on_waiting = lambda before: waiting.set()
        await waiting.wait()
        lease.interrupt()
        with pytest.raises(WaitGivenUp):
            await opening
        await busy.reset()

        printed = await output(lease, "print('now')")

    assert given_up == Outcome(status="interrupted", exit_code=130)
    assert printed == "now\n"


class Away:
    """A store whose first calls of one method find no database."""

    def __init__(self, store: Any, method: str, times: int = 2) -> None:
        self._store = store
        self._method = method
        self.times = times

    def __getattr__(self, name: str) -> Any:
        if name == self._method and self.times:
            self.times -= 1
            return self._refuse
        return getattr(self._store, name)

    async def _refuse(self, *args: Any) -> Any:
        raise ConnectionError("the database starts again")


@pytest.mark.parametrize("method", ["turn", "start", "finish"])
async def test_a_turn_outlasts_a_database_that_is_away_for_a_moment(direct: Bot, method: str) -> None:
    away = direct.runner._turns = Away(direct.turns, method)  # type: ignore[assignment]

    assert await direct.ask("```\nprint('kept')\n```") == "done"

    assert away.times == 0
    assert direct.platform.text().splitlines()[-1] == "kept"
    assert await direct.front.releases._claims.claims() == []


async def test_a_turn_that_the_store_failed_in_its_middle_says_so_with_retry(direct: Bot) -> None:
    direct.runner._outbox = Away(direct.runner._outbox, "replies", 1)  # type: ignore[assignment]

    assert await direct.ask("```\nprint('lost')\n```") == "failed"

    await direct.platform.shows("Something went wrong on my side")
    (reply,) = direct.platform.posts.values()
    assert reply.actions == ("retry",)
    assert [type(block) for block in reply.blocks] == [Notice]
