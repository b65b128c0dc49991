"""The sandbox service's records in the bot's database."""

from __future__ import annotations

from dataclasses import asdict

from sqlalchemy import delete, insert, select, update

from bot.store.database import Database
from bot.store.schema import sandboxes
from sandbox.records import Record


class SqlRecords:
    """The Records port of sandbox.records on SQL. One process at a time writes the records of a key."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, key: str) -> Record | None:
        """See Records."""
        async with self._database.begin() as connection:
            value = (await connection.execute(select(sandboxes.c.record).where(sandboxes.c.key == key))).scalar()
        return None if value is None else Record(**value)

    async def put(self, record: Record) -> None:
        """See Records."""
        value = asdict(record)
        async with self._database.begin() as connection:
            mine = update(sandboxes).where(sandboxes.c.key == record.key).values(record=value)
            if (await connection.execute(mine)).rowcount == 0:
                await connection.execute(insert(sandboxes).values(key=record.key, record=value))

    async def delete(self, key: str) -> None:
        """See Records."""
        async with self._database.begin() as connection:
            await connection.execute(delete(sandboxes).where(sandboxes.c.key == key))

    async def all(self) -> list[Record]:
        """See Records."""
        async with self._database.begin() as connection:
            rows = (await connection.execute(select(sandboxes.c.record))).scalars()
            return [Record(**value) for value in rows]
