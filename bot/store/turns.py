"""Turns as they run, and what a thread's agent remembers."""

from __future__ import annotations

from dataclasses import asdict

from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from bot.model import ENDED, Json, Turn, TurnStatus
from bot.ports import Clock
from bot.store.database import Database
from bot.store.inbox import TURN_QUERY, turn_from_row
from bot.store.schema import runs, threads, turns
from bot.views import Cost


class SqlTurns:
    """The Turns port on SQL."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def turn(self, turn_id: str) -> Turn:
        """See bot.store_ports.Turns."""
        async with self._database.begin() as connection:
            row = (await connection.execute(TURN_QUERY.where(turns.c.id == turn_id))).first()
        if row is None:
            raise LookupError(f"no turn {turn_id}")
        return turn_from_row(row._mapping)

    async def start(self, turn_id: str) -> bool:
        """See bot.store_ports.Turns."""
        alive = (turns.c.id == turn_id) & turns.c.status.not_in(ENDED)
        async with self._database.begin() as connection:
            started = await connection.execute(update(turns).where(alive).values(status="running"))
            return started.rowcount > 0

    async def finish(self, turn_id: str, status: TurnStatus, state: Json | None, cost: Cost | None = None) -> None:
        """See bot.store_ports.Turns."""
        mine = turns.c.id == turn_id
        ended = {"status": status, "ended_at": self._clock(), **asdict(cost or Cost())}
        async with self._database.begin() as connection:
            await connection.execute(update(turns).where(mine).values(**ended))
            if state is not None:
                thread = select(turns.c.thread_id).where(mine).scalar_subquery()
                await connection.execute(update(threads).where(threads.c.id == thread).values(agent_state=state))

    async def agent_state(self, thread_id: str) -> Json | None:
        """See bot.store_ports.Turns."""
        query = select(threads.c.agent_state).where(threads.c.id == thread_id)
        async with self._database.begin() as connection:
            state: Json | None = (await connection.execute(query)).scalar_one_or_none()
        return state

    async def begin_run(self, request_id: str, turn_id: str) -> bool:
        """See bot.store_ports.Turns."""
        row = {"request_id": request_id, "turn_id": turn_id, "started_at": self._clock()}
        thread = select(turns.c.thread_id).where(turns.c.id == turn_id).scalar_subquery()
        try:
            async with self._database.begin() as connection:
                await connection.execute(insert(runs).values(**row))
                await connection.execute(update(threads).where(threads.c.id == thread).values(has_sandbox=True))
        except IntegrityError:
            return False
        return True

    async def has_sandbox(self, thread_id: str) -> bool:
        """See bot.store_ports.Turns."""
        async with self._database.begin() as connection:
            found = await connection.execute(select(threads.c.has_sandbox).where(threads.c.id == thread_id))
            return bool(found.scalar_one())

    async def has_answered(self, thread_id: str) -> bool:
        """See bot.store_ports.Turns."""
        query = select(turns.c.id).where(turns.c.thread_id == thread_id, turns.c.status == "done").limit(1)
        async with self._database.begin() as connection:
            return (await connection.execute(query)).first() is not None
