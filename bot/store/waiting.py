"""Messages that wait, join a run, change or are taken back; and who asked for what, how much."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, and_, func, select, update

from bot.codec import message_from_json, message_to_json
from bot.model import IncomingMessage, ThreadKey, Turn
from bot.ports import Clock
from bot.store.database import Database
from bot.store.inbox import TURN_QUERY, columns, thread_id, turn_from_row
from bot.store.schema import messages, threads, turns
from bot.views import Usage


class SqlWaiting:
    """The Waiting port on SQL."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def join(self, turn_id: str) -> list[Turn]:
        """See bot.store_ports.Waiting."""
        waiting = and_(turns.c.thread_id == _thread_of(turn_id), turns.c.status == "queued", turns.c.id > turn_id)
        async with self._database.together(), self._database.begin() as connection:
            await connection.execute(
                update(turns).where(waiting).values(status="joined", joined=turn_id, ended_at=self._clock())
            )
            return await self.joined(turn_id)

    async def joined(self, turn_id: str) -> list[Turn]:
        """See bot.store_ports.Waiting."""
        # a turn takes up what waits in its own thread, which has an index
        query = TURN_QUERY.where(turns.c.thread_id == _thread_of(turn_id), turns.c.joined == turn_id)
        async with self._database.begin() as connection:
            rows = await connection.execute(query.order_by(turns.c.id))
            return [turn_from_row(row._mapping) for row in rows]

    async def left_behind(self, turn: Turn) -> list[IncomingMessage]:
        """See bot.store_ports.Waiting."""
        mine = select(turns.c.message).where(turns.c.id == turn.id).scalar_subquery()
        failed = select(turns.c.id).where(
            turns.c.message == mine, turns.c.status.in_(("failed", "stopped")), turns.c.id < turn.id
        )
        query = TURN_QUERY.where(turns.c.thread_id == turn.thread_id, turns.c.joined.in_(failed)).order_by(turns.c.id)
        async with self._database.begin() as connection:
            return [turn_from_row(row._mapping).message for row in await connection.execute(query)]

    async def context(self, turn: Turn, limit: int) -> list[IncomingMessage]:
        """See bot.store_ports.Waiting."""
        mine = select(turns.c.message).where(turns.c.id == turn.id).scalar_subquery()
        before = (
            select(func.max(turns.c.message))
            .where(turns.c.thread_id == turn.thread_id, turns.c.id < turn.id)
            .scalar_subquery()
        )
        query = (
            select(messages.c.body)
            .where(
                messages.c.thread_id == turn.thread_id, messages.c.id < mine, messages.c.id > func.coalesce(before, 0)
            )
            .order_by(messages.c.id.desc())
            .limit(limit)
        )
        async with self._database.begin() as connection:
            return [message_from_json(body) for (body,) in reversed((await connection.execute(query)).all())]

    async def edit(self, key: ThreadKey, message_id: str, text: str) -> Turn | None:
        """See bot.store_ports.Waiting."""
        where = _message(key, message_id)
        async with self._database.begin() as connection:
            row = (await connection.execute(select(messages.c.id, messages.c.body).where(where))).first()
            if row is None or row.body["text"] == text:
                return None
            body = message_to_json(message_from_json({**row.body, "text": text}))
            await connection.execute(update(messages).where(messages.c.id == row.id).values(body=body))
        return await self.turn_of(key, message_id)

    async def turn_of(self, key: ThreadKey, message_id: str) -> Turn | None:
        """See bot.store_ports.Waiting."""
        query = TURN_QUERY.where(_message(key, message_id)).order_by(turns.c.id.desc()).limit(1)
        async with self._database.begin() as connection:
            row = (await connection.execute(query)).first()
        return turn_from_row(row._mapping) if row is not None else None

    async def first(self, key: ThreadKey) -> Turn | None:
        """See bot.store_ports.Waiting."""
        query = TURN_QUERY.where(turns.c.thread_id == thread_id(key), turns.c.status == "queued").order_by(turns.c.id)
        async with self._database.begin() as connection:
            row = (await connection.execute(query.limit(1))).first()
        return turn_from_row(row._mapping) if row is not None else None

    async def withdraw(self, turn_id: str) -> bool:
        """See bot.store_ports.Waiting."""
        queued = (turns.c.id == turn_id) & (turns.c.status == "queued")
        async with self._database.begin() as connection:
            changed = await connection.execute(
                update(turns).where(queued).values(status="stopped", ended_at=self._clock())
            )
            return changed.rowcount > 0

    async def withdraw_all(self, place: ThreadKey) -> None:
        """See bot.store_ports.Waiting."""
        named = {"platform": place.platform, "workspace": place.workspace, "channel": place.channel,
                 "thread": place.thread}  # fmt: skip
        within = select(threads.c.id).where(*(threads.c[name] == value for name, value in named.items() if value))
        queued = and_(turns.c.status == "queued", turns.c.thread_id.in_(within))
        async with self._database.begin() as connection:
            await connection.execute(update(turns).where(queued).values(status="stopped", ended_at=self._clock()))


class SqlPeople:
    """The People port on SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def requesters(self, key: ThreadKey) -> frozenset[str]:
        """See bot.store_ports.People."""
        query = (
            select(messages.c.author_id)
            .distinct()
            .select_from(turns.join(messages, turns.c.message == messages.c.id))
            .where(turns.c.thread_id == thread_id(key))
        )
        async with self._database.begin() as connection:
            return frozenset(author for (author,) in await connection.execute(query))

    async def usage(self, platform: str, workspace: str, person_id: str | None, since: datetime) -> Usage:
        """See bot.store_ports.People."""
        query = (
            select(
                func.count(),
                *(func.coalesce(func.sum(turns.c[name]), 0) for name in ("tokens", "run_ms", "cpu_ms")),
                func.coalesce(func.max(turns.c.peak_bytes), 0),
            )
            .select_from(turns.join(messages, turns.c.message == messages.c.id))
            .where(messages.c.platform == platform, messages.c.workspace == workspace, turns.c.created_at >= since)
        )
        if person_id is not None:
            query = query.where(messages.c.author_id == person_id)
        async with self._database.begin() as connection:
            count, tokens, run_ms, cpu_ms, peak = (int(value) for value in (await connection.execute(query)).one())
        return Usage(turns=count, tokens=tokens, run_seconds=run_ms / 1000, cpu_seconds=cpu_ms / 1000, peak_bytes=peak)

    async def engaged(
        self, platform: str, since: datetime, limit: int, workspace: str | None = None
    ) -> list[tuple[ThreadKey, str]]:
        """See bot.store_ports.People."""
        newest = func.max(messages.c.id).label("newest")
        lately = (
            select(messages.c.thread_id, newest)
            .where(
                messages.c.platform == platform,
                messages.c.created_at >= since,
                *([messages.c.workspace == workspace] if workspace is not None else []),
            )
            .group_by(messages.c.thread_id)
            .subquery()
        )
        query = (
            select(threads, messages.c.message_id)
            .select_from(
                threads.join(lately, threads.c.id == lately.c.thread_id).join(
                    messages, messages.c.id == lately.c.newest
                )
            )
            .where(threads.c.arrivals > 0)
            .order_by(lately.c.newest.desc())
            .limit(limit)
        )
        async with self._database.begin() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [
            (
                ThreadKey(
                    platform=row["platform"],
                    workspace=row["workspace"],
                    channel=row["channel"],
                    thread=row["thread"],
                ),
                row["message_id"],
            )
            for row in rows
        ]


def _thread_of(turn_id: str) -> str:
    return turn_id.rpartition("-")[0]


def _message(key: ThreadKey, message_id: str) -> ColumnElement[bool]:
    where = [getattr(messages.c, name) == value for name, value in columns(key).items()]
    return and_(messages.c.message_id == message_id, *where)
