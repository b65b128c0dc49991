"""Files and pictures: bytes in a folder, names in the database, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.artifacts import BlobArtifacts
from bot.secrets import Redactor
from bot.store import Database

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)


async def test_artifacts_come_back_byte_for_byte(database: Database, tmp_path: Path) -> None:
    artifacts = BlobArtifacts(database, tmp_path / "blobs", lambda: NOW, Redactor([]))
    data = bytes(range(256))

    saved = await artifacts.save(None, "a.bin", "application/octet-stream", data)

    assert await artifacts.load(saved.id) == (saved, data)
    for wrong in ("../../etc/passwd", "x", saved.id + "x"):
        with pytest.raises(LookupError):
            await artifacts.load(wrong)
    (tmp_path / "blobs" / saved.id).unlink()
    with pytest.raises(LookupError):
        await artifacts.load(saved.id)


async def test_artifacts_go_when_they_are_old_and_the_oldest_where_all_are_too_much(
    database: Database, tmp_path: Path
) -> None:
    now = NOW
    artifacts = BlobArtifacts(database, tmp_path / "blobs", lambda: now, Redactor([]))
    saved = []
    for day in range(5):
        now = NOW + timedelta(days=day)
        saved.append(await artifacts.save(None, "a", "text/plain", b"x" * 100))

    gone = [
        await artifacts.forget(NOW + timedelta(hours=1), 10_000),
        await artifacts.forget(NOW, 250),
        await artifacts.forget(NOW, 250),
    ]

    assert gone == [1, 2, 0]
    assert {path.name for path in (tmp_path / "blobs").iterdir()} == {one.id for one in saved[3:]}
    for one in saved[:3]:
        with pytest.raises(LookupError):
            await artifacts.load(one.id)
    assert (await artifacts.load(saved[3].id))[0] == saved[3]
