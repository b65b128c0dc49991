"""Empty databases on SQLite with the newest schema: migrated once in a process, then copied."""

from __future__ import annotations

import tempfile
from pathlib import Path

from sqlalchemy import Engine

from bot.store import Database

_migrated: list[bytes] = []
_first: list[Engine] = []


async def migrated() -> bytes:
    """An empty database."""
    if not _migrated:
        with tempfile.TemporaryDirectory(prefix="threadbox-test-") as folder:
            first = Path(folder) / "first.sqlite"
            await (await Database.open(f"sqlite+aiosqlite:///{first}")).aclose()
            _migrated.append(first.read_bytes())
    return _migrated[0]


async def new_database(path: Path) -> Database:
    """Opened at `path`, where there is none yet."""
    path.write_bytes(await migrated())
    database = await Database.open(f"sqlite+aiosqlite:///{path}")
    # statements are compiled once in a process, not once in a test: a sixth of the time of those that run turns
    engine = database._engine.sync_engine
    if not _first:
        _first.append(engine)
    engine.dialect, engine._compiled_cache = _first[0].dialect, _first[0]._compiled_cache
    return database
