"""Empty databases on SQLite with the newest schema: migrated once in a process, then copied."""

from __future__ import annotations

import tempfile
from pathlib import Path

from bot.store import Database

_migrated: list[bytes] = []


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
    return await Database.open(f"sqlite+aiosqlite:///{path}")
