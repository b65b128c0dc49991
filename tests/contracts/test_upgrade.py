"""A process ends with turns under way and another version of the bot starts: none is stuck, nor the thread it is in."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bot import durable
from bot.durable import DbosTurnQueue
from bot.ports import Steps
from bot.step_results import StepResults
from sandbox.blobs import Blobs

RESULTS = StepResults(Blobs.at("memory://"))


class Runner:
    """Notes what it was given; the older one never ends."""

    def __init__(self, *, ends: bool) -> None:
        self.begun: list[str] = []
        self._ends = ends
        self._changed = asyncio.Condition()

    async def run(self, turn_id: str, steps: Steps) -> Any:
        async with self._changed:
            self.begun.append(turn_id)
            self._changed.notify_all()
        if not self._ends:
            await asyncio.Event().wait()
        return "done"

    async def begins(self, count: int) -> None:
        async with self._changed, asyncio.timeout(30):
            await self._changed.wait_for(lambda: len(self.begun) >= count)


@pytest.mark.parametrize("kept_on", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def test_turns_of_another_version_hold_up_nothing(
    request: pytest.FixtureRequest, tmp_path: Path, kept_on: str
) -> None:
    url = f"sqlite:///{tmp_path / 'turns.sqlite'}"
    if kept_on == "postgres":
        url = request.getfixturevalue("new_postgres_url")().replace("+asyncpg", "+psycopg")
    older, newer = Runner(ends=False), Runner(ends=True)
    before = DbosTurnQueue(database_url=url, results=RESULTS, turns_at_once=4, version="1")
    await before.start(older)  # type: ignore[arg-type]
    for turn_id in ("a-00000001", "a-00000002"):
        await before.enqueue(turn_id, "a")
    await older.begins(1)
    await before.aclose()

    after = DbosTurnQueue(database_url=url, results=RESULTS, turns_at_once=4, version="2")
    await after.start(newer)  # type: ignore[arg-type]
    for turn_id in ("a-00000001", "a-00000002", "a-00000003"):  # as the sweep does, and a new message
        await after.enqueue(turn_id, "a")
    await newer.begins(3)
    await after.aclose()

    assert older.begun == ["a-00000001"]
    assert newer.begun == ["a-00000001", "a-00000002", "a-00000003"]


@pytest.mark.parametrize(("kept", "runs"), [(durable.KEEP_FINISHED, 1), (timedelta(seconds=-60), 2)])
async def test_a_finished_turn_is_remembered_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: timedelta, runs: int
) -> None:
    """Queued again it runs again only where its record was forgotten; the bot itself knows that it has ended."""
    monkeypatch.setattr(durable, "KEEP_FINISHED", kept)
    runner = Runner(ends=True)
    for life in range(2):
        queue = DbosTurnQueue(database_url=f"sqlite:///{tmp_path / 'turns.sqlite'}", results=RESULTS, turns_at_once=4)
        await queue.start(runner)  # type: ignore[arg-type]
        await queue.enqueue("a-00000001", "a")
        await queue.enqueue(f"b-0000000{life}", "b")
        while f"b-0000000{life}" not in runner.begun or "a-00000001" not in runner.begun:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)  # for what would run once more, and for the end to be recorded
        await queue.aclose()

    assert runner.begun.count("a-00000001") == runs


async def test_the_record_of_turns_is_in_a_file_of_its_own_that_readers_do_not_wait_for(tmp_path: Path) -> None:
    path = tmp_path / "turns.sqlite"
    queue = DbosTurnQueue(database_url=f"sqlite:///{path}", results=RESULTS, turns_at_once=4)
    await queue.start(Runner(ends=True))  # type: ignore[arg-type]
    await queue.aclose()

    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
