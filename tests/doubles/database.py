"""Empty databases on SQLite with the newest schema: made once in a process, then copied."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from sqlalchemy import Engine, create_engine, text

from bot.store import Database
from bot.store.database import HEAD
from bot.store.schema import metadata

_first: list[Engine] = []


@cache
def empty() -> bytes:
    """One, made from the schema: that the migrations make the same is tested (tests/contracts/test_database.py)."""
    with tempfile.TemporaryDirectory(prefix="threadbox-test-") as folder:
        first = Path(folder) / "first.sqlite"
        engine = create_engine(f"sqlite:///{first}")
        with engine.begin() as connection:
            metadata.create_all(connection)
            connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
            connection.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD})
        engine.dispose()
        return first.read_bytes()


async def new_database(path: Path) -> Database:
    """Opened at `path`, where there is none yet."""
    path.write_bytes(empty())
    database = await Database.open(f"sqlite+aiosqlite:///{path}")
    # statements are compiled once in a process, not once in a test: a sixth of the time of those that run turns
    engine = database._engine.sync_engine
    if not _first:
        _first.append(engine)
    engine.dialect, engine._compiled_cache = _first[0].dialect, _first[0]._compiled_cache
    return database
