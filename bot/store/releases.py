"""The turns that have not ended, and which of them may run."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select, update

from bot.releases import Claim
from bot.store.database import Database
from bot.store.schema import messages, turns


class SqlClaims:
    """The Claims port on SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claims(self) -> list[Claim]:
        """See bot.releases.Claims."""
        query = (
            select(turns.c.id, turns.c.thread_id, turns.c.released, messages.c.platform, messages.c.author_id)
            .select_from(turns.join(messages, turns.c.message == messages.c.id))
            .where(turns.c.status.in_(("queued", "running")))
            .order_by(turns.c.created_at, turns.c.id)
        )
        async with self._database.begin() as connection:
            rows = (await connection.execute(query)).all()
        return [
            Claim(
                turn_id=row.id,
                thread_id=row.thread_id,
                person=f"{row.platform}/{row.author_id}",
                is_released=row.released,
            )
            for row in rows
        ]

    async def mark_released(self, turn_ids: Sequence[str]) -> None:
        """See bot.releases.Claims."""
        async with self._database.begin() as connection:
            await connection.execute(update(turns).where(turns.c.id.in_(turn_ids)).values(released=True))
