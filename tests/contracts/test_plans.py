"""What every mention, or every sweep, asks of the store reads no whole table, as SQLite plans it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event

from bot.model import IncomingMessage, Person, ThreadKey, Turn
from bot.store import Database, SqlOutbox, SqlWaiting
from bot.store.schema import metadata
from tests.doubles.database import new_database

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
KEY = ThreadKey(platform="test", workspace="w", channel="c", thread="t")
MESSAGE = IncomingMessage(
    key=KEY, message_id="1", author=Person(id="p", name="Ada"), text="hello", sent_at=NOW, for_us=True
)
TURN = Turn(id="a-00000001", thread_id="a", key=KEY, message=MESSAGE, status="running", created_at=NOW)


def waiting(database: Database) -> SqlWaiting:
    return SqlWaiting(database, lambda: NOW)


def outbox(database: Database) -> SqlOutbox:
    return SqlOutbox(database, lambda: NOW)


ASKED: dict[str, Callable[[Database], Awaitable[object]]] = {
    "what a turn took up": lambda database: waiting(database).joined(TURN.id),
    "what failed tries had taken up": lambda database: waiting(database).left_behind(TURN),
    "what is not posted": lambda database: outbox(database).undelivered(20, platforms=["test"]),
    "what is not posted on several platforms": lambda database: outbox(database).undelivered(
        20, platforms=["test", "other"], without=[KEY]
    ),
}


@pytest.mark.parametrize("asked", ASKED)
async def test_nothing_reads_a_whole_table(tmp_path: Path, asked: str) -> None:
    database = await new_database(tmp_path / "store.sqlite")
    statements: list[tuple[str, Any]] = []

    def note(connection: Connection, cursor: object, statement: str, parameters: Any, *more: object) -> None:
        statements.append((statement, parameters))

    event.listen(database._engine.sync_engine, "before_cursor_execute", note)

    await ASKED[asked](database)

    ((statement, parameters),) = statements
    async with database.begin() as connection:
        rows = (await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)).all()
    await database.aclose()
    plan = [row.detail for row in rows]
    whole = tuple(f"SCAN {name}" for name in metadata.tables)
    assert any(step.startswith("SEARCH ") for step in plan)
    assert not any(step.startswith(whole) for step in plan), plan
    assert not any("(platform=?)" in step for step in plan), plan  # an index, of which that is nearly all
