"""Files and pictures: bytes in a blob store (a local folder so far), names in the database."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import itertools
import re
import secrets
from datetime import datetime
from pathlib import Path

from obstore.store import LocalStore
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from bot.model import Artifact
from bot.ports import Clock
from bot.secrets import Redactor
from bot.store.database import Database
from bot.store.schema import artifacts

FORGET_MOST = 1_000  # files at a time
_ID = re.compile(r"[A-Za-z0-9_-]{20,48}")


class BlobArtifacts:
    """The Artifacts port. Ids are random: who has one may read the bytes."""

    def __init__(self, database: Database, folder: Path, clock: Clock, redactor: Redactor) -> None:
        self._database = database
        self._store = LocalStore(str(folder), mkdir=True)
        self._clock = clock
        self._redactor = redactor

    async def save(self, turn_id: str | None, name: str, mime: str, data: bytes, *, key: str | None = None) -> Artifact:
        """See bot.store_ports.Artifacts."""
        if turn_id is not None:  # what a person sent is theirs
            data = self._redactor.data(data)
        artifact_id = secrets.token_urlsafe(24) if key is None else _id_of(key, data)
        artifact = Artifact(id=artifact_id, name=name, mime=mime, size=len(data))
        await self._store.put_async(artifact.id, data)
        row = {"id": artifact.id, "turn_id": turn_id, "name": name, "mime": mime, "size": len(data)}
        with contextlib.suppress(IntegrityError):  # kept before under this key
            async with self._database.begin() as connection:
                await connection.execute(insert(artifacts).values(**row, created_at=self._clock()))
        return artifact

    async def load(self, artifact_id: str) -> tuple[Artifact, bytes]:
        """See bot.store_ports.Artifacts."""
        if _ID.fullmatch(artifact_id) is None:
            raise LookupError(artifact_id)
        async with self._database.begin() as connection:
            row = (await connection.execute(select(artifacts).where(artifacts.c.id == artifact_id))).first()
        if row is None:
            raise LookupError(artifact_id)
        try:
            got = await self._store.get_async(artifact_id)
            data = bytes(await got.bytes_async())
        except FileNotFoundError as error:  # somebody removed it from the folder
            raise LookupError(artifact_id) from error
        return Artifact(id=row.id, name=row.name, mime=row.mime, size=row.size), data

    async def forget(self, before: datetime, most_bytes: int) -> int:
        """Delete what is older, and the oldest where all is more; how many files, at most `FORGET_MOST`."""
        oldest = select(artifacts.c.id, artifacts.c.size).order_by(artifacts.c.created_at).limit(FORGET_MOST)
        async with self._database.begin() as connection:
            old = (await connection.execute(oldest.where(artifacts.c.created_at < before))).all()
            if not old:
                total = (await connection.execute(select(func.coalesce(func.sum(artifacts.c.size), 0)))).scalar_one()
                rows = (await connection.execute(oldest)).all() if total > most_bytes else []
                sizes = itertools.accumulate((row.size for row in rows), initial=0)
                old = [row for row, size in zip(rows, sizes, strict=False) if total - size > most_bytes]
        for row in old:
            with contextlib.suppress(FileNotFoundError):
                await self._store.delete_async(row.id)
            async with self._database.begin() as connection:
                await connection.execute(delete(artifacts).where(artifacts.c.id == row.id))
        return len(old)

    async def shown_as(self, artifact_id: str) -> str | None:
        """See bot.store_ports.Artifacts."""
        query = select(artifacts.c.platform_id).where(artifacts.c.id == artifact_id)
        async with self._database.begin() as connection:
            found: str | None = (await connection.execute(query)).scalar_one_or_none()
        return found

    async def show_as(self, artifact_id: str, platform_id: str) -> None:
        """See bot.store_ports.Artifacts."""
        mine = artifacts.c.id == artifact_id
        async with self._database.begin() as connection:
            await connection.execute(update(artifacts).where(mine).values(platform_id=platform_id))


def _id_of(key: str, data: bytes) -> str:
    """An id that only who knows key and bytes can tell."""
    return base64.urlsafe_b64encode(hashlib.sha256(key.encode() + b"\0" + data).digest()).decode().rstrip("=")
