"""Replies by their stable key, and threads as they are shown."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from sqlalchemy import ColumnElement, and_, func, insert, select, update

from bot.codec import message_from_json, reply_from_json, reply_to_json
from bot.model import PostedReply, Reply, ThreadKey, Turn
from bot.ports import Clock
from bot.store.database import Database
from bot.store.inbox import TURN_QUERY, columns, thread_id, turn_from_row
from bot.store.schema import messages, replies, turns
from bot.text import title_of
from bot.views import Entry, ThreadSummary

TITLE_CHARS = 80
LOOK_BACK = timedelta(days=1)
LEFT_ALONE = timedelta(minutes=1)


class SqlOutbox:
    """The Outbox port on SQL."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def replies(self, turn_id: str) -> list[PostedReply]:
        """See bot.store_ports.Outbox."""
        return await _posted(self._database, turn_id)

    async def write(self, reply: Reply) -> None:
        """See bot.store_ports.Outbox."""
        mine = (replies.c.turn_id == reply.turn_id) & (replies.c.part == reply.part)
        body = reply_to_json(reply)
        async with self._database.begin() as connection:
            changed = await connection.execute(update(replies).where(mine).values(body=body))
            if changed.rowcount == 0:
                await connection.execute(insert(replies).values(turn_id=reply.turn_id, part=reply.part, body=body))

    async def posted(self, reply: Reply, message_id: str) -> None:
        """See bot.store_ports.Outbox."""
        mine = (replies.c.turn_id == reply.turn_id) & (replies.c.part == reply.part)
        async with self._database.begin() as connection:
            await connection.execute(update(replies).where(mine).values(message_id=message_id))

    async def undelivered(
        self, limit: int, *, platforms: Collection[str], without: Collection[ThreadKey] = ()
    ) -> list[tuple[ThreadKey, Reply]]:
        """See bot.store_ports.Outbox."""
        now = self._clock()
        query = (
            select(replies.c.turn_id, replies.c.part, replies.c.body, messages.c.body.label("message"))
            .select_from(
                replies.join(turns, replies.c.turn_id == turns.c.id).join(messages, turns.c.message == messages.c.id)
            )
            .where(
                replies.c.message_id.is_(None),
                replies.c.body["final"].as_boolean(),
                messages.c.platform.in_(platforms),
                turns.c.thread_id.not_in([thread_id(key) for key in without]),
                turns.c.ended_at > now - LOOK_BACK,
                turns.c.ended_at < now - LEFT_ALONE,
            )
            .order_by(turns.c.ended_at, replies.c.part)
            .limit(limit)
        )
        async with self._database.begin() as connection:
            rows = (await connection.execute(query)).all()
        return [(message_from_json(row.message).key, reply_from_json(row.turn_id, row.part, row.body)) for row in rows]


class SqlHistory:
    """The History port on SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def threads(self, platform: str, channel: str, limit: int) -> list[ThreadSummary]:
        """See bot.store_ports.History."""
        first = func.min(messages.c.id).label("first")
        newest = func.max(messages.c.created_at).label("newest")
        counted = (
            select(messages.c.thread_id, first, newest, func.count().label("count"))
            .where(messages.c.platform == platform, messages.c.channel == channel)
            .group_by(messages.c.thread_id)
            .order_by(newest.desc())
            .limit(limit)
            .subquery()
        )
        query = select(messages.c.body, counted.c.newest, counted.c["count"]).join(
            counted, messages.c.id == counted.c.first
        )
        async with self._database.begin() as connection:
            rows = (await connection.execute(query.order_by(counted.c.newest.desc()))).all()
        summaries = []
        for body, updated_at, count in rows:
            message = message_from_json(body)
            title = title_of(message.text, TITLE_CHARS) or "(files)"
            summaries.append(
                ThreadSummary(
                    key=message.key, title=title, author=message.author.name, messages=count, updated_at=updated_at
                )
            )
        return summaries

    async def entries(self, key: ThreadKey, limit: int) -> list[Entry]:
        """See bot.store_ports.History."""
        query = (
            select(messages.c.body, turns.c.id, turns.c.status)
            .select_from(messages.outerjoin(turns, turns.c.message == messages.c.id))
            .where(messages.c.thread_id == thread_id(key))
            .order_by(messages.c.id.desc(), turns.c.id)
            .limit(limit)
        )
        async with self._database.begin() as connection:
            rows = (await connection.execute(query)).all()
            found = [row.id for row in rows if row.id is not None]
            written = select(replies).where(replies.c.turn_id.in_(found)).order_by(replies.c.turn_id, replies.c.part)
            by_turn: dict[str, list[Reply]] = {}
            for row in await connection.execute(written):
                by_turn.setdefault(row.turn_id, []).append(reply_from_json(row.turn_id, row.part, row.body))
        return [
            Entry(
                message=message_from_json(row.body),
                turn_id=row.id,
                status=row.status,
                replies=tuple(by_turn.get(row.id, ())),
            )
            for row in reversed(rows)
        ]

    async def reply(self, key: str) -> Reply | None:
        """See bot.store_ports.History."""
        turn_id, _, part = key.rpartition(".")
        if not part.isdigit():
            return None
        query = select(replies).where(replies.c.turn_id == turn_id, replies.c.part == int(part))
        async with self._database.begin() as connection:
            row = (await connection.execute(query)).first()
        return reply_from_json(row.turn_id, row.part, row.body) if row is not None else None

    async def posted(self, turn_id: str) -> list[PostedReply]:
        """See bot.store_ports.History."""
        return await _posted(self._database, turn_id)

    async def turn(self, turn_id: str) -> Turn | None:
        """See bot.store_ports.History."""
        return await self._turn(turns.c.id == turn_id)

    async def turn_of(self, key: ThreadKey, message_id: str) -> Turn | None:
        """See bot.store_ports.History."""
        where = [getattr(messages.c, name) == value for name, value in columns(key).items()]
        return await self._turn(and_(messages.c.message_id == message_id, *where))

    async def _turn(self, where: ColumnElement[bool]) -> Turn | None:
        """The latest that fits."""
        query = TURN_QUERY.where(where).order_by(turns.c.id.desc()).limit(1)
        async with self._database.begin() as connection:
            row = (await connection.execute(query)).first()
        return turn_from_row(row._mapping) if row is not None else None


async def _posted(database: Database, turn_id: str) -> list[PostedReply]:
    query = select(replies).where(replies.c.turn_id == turn_id).order_by(replies.c.part)
    async with database.begin() as connection:
        return [
            PostedReply(reply=reply_from_json(row.turn_id, row.part, row.body), message_id=row.message_id)
            for row in await connection.execute(query)
        ]
