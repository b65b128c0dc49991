"""What an adapter must know after a restart."""

from __future__ import annotations

from sqlalchemy import insert, select, update

from bot.store.database import Database
from bot.store.schema import memos


class SqlMemos:
    """The Memos port on SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, platform: str, name: str) -> str | None:
        """See bot.store_ports.Memos."""
        query = select(memos.c.value).where(memos.c.platform == platform, memos.c.name == name)
        async with self._database.begin() as connection:
            return (await connection.execute(query)).scalar_one_or_none()

    async def put(self, platform: str, name: str, value: str) -> None:
        """See bot.store_ports.Memos."""
        mine = (memos.c.platform == platform) & (memos.c.name == name)
        async with self._database.begin() as connection:
            changed = await connection.execute(update(memos).where(mine).values(value=value))
            if changed.rowcount == 0:
                await connection.execute(insert(memos).values(platform=platform, name=name, value=value))
