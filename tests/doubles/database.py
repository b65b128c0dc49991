"""Empty databases on SQLite with the newest schema: migrated once in a process, then copied."""

from __future__ import annotations

import tempfile
from pathlib import Path

from bot.store import Database

_migrated: list[bytes] = []


async def new_database(path: Path) -> Database:
    """Opened at `path`, where there is none yet."""
    if not _migrated:
        with tempfile.TemporaryDirectory(prefix="threadbox-test-") as folder:
            first = Path(folder) / "first.sqlite"
            await (await Database.open(f"sqlite+aiosqlite:///{first}")).aclose()
            _migrated.append(first.read_bytes())
    path.write_bytes(_migrated[0])
    return await Database.open(f"sqlite+aiosqlite:///{path}")
