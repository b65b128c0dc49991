"""Messages in, claimed once, each with the turn it becomes."""

from __future__ import annotations

import hashlib

from sqlalchemy import RowMapping, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.codec import message_from_json, message_to_json
from bot.errors import Refused
from bot.model import ENDED, IncomingMessage, ThreadKey, Turn
from bot.ports import Clock
from bot.store.database import Database
from bot.store.schema import messages, threads, turns

ARRIVAL_DIGITS = 8


def thread_id(key: ThreadKey) -> str:
    """A short id that is the same for the same thread, in every process."""
    text = "\0".join((key.platform, key.workspace, key.channel, key.thread))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class SqlInbox:
    """The Inbox port on SQL."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def claim(self, message: IncomingMessage, *, answer: bool) -> Turn | None:
        """See bot.store_ports.Inbox."""
        for _ in range(2):  # two first messages of one thread may race for its row: the loser finds it next time
            try:
                async with self._database.begin() as connection:
                    return await self._claim(connection, message, answer)
            except IntegrityError:
                if await self._is_claimed(message):
                    return None
        raise RuntimeError("a thread's row appeared and vanished")

    async def _claim(self, connection: AsyncConnection, message: IncomingMessage, answer: bool) -> Turn | None:
        now = self._clock()
        key = message.key
        thread = thread_id(key)
        found = await connection.execute(select(threads.c.id).where(threads.c.id == thread))
        if found.first() is None:
            row = {"id": thread, "arrivals": 0, "has_sandbox": False, "created_at": now, **columns(key)}
            await connection.execute(insert(threads).values(**row, thread=key.thread))
        inserted = await connection.execute(
            insert(messages)
            .values(
                thread_id=thread,
                message_id=message.message_id,
                author_id=message.author.id,
                body=message_to_json(message),
                created_at=now,
                **columns(key),
            )
            .returning(messages.c.id)
        )
        number = inserted.scalar_one()
        return await self._add_turn(connection, thread, number, message) if answer else None

    async def message_of(self, turn_id: str) -> IncomingMessage:
        """See bot.store_ports.Inbox."""
        query = TURN_QUERY.where(turns.c.id == turn_id, turns.c.status.in_(ENDED))
        async with self._database.begin() as connection:
            row = (await connection.execute(query)).first()
        if row is None:
            raise LookupError(f"no ended turn {turn_id}")
        return turn_from_row(row._mapping).message

    async def abandon(self, platform: str) -> None:
        """See bot.store_ports.Inbox."""
        theirs = select(threads.c.id).where(threads.c.platform == platform).scalar_subquery()
        unfinished = turns.c.thread_id.in_(theirs) & turns.c.status.not_in(ENDED)
        async with self._database.begin() as connection:
            await connection.execute(update(turns).where(unfinished).values(status="stopped", ended_at=self._clock()))

    async def again(self, turn_id: str) -> Turn:
        """See bot.store_ports.Inbox."""
        ended = (turns.c.id == turn_id) & turns.c.status.in_(ENDED)
        query = select(turns.c.thread_id, turns.c.message, messages.c.body).where(ended)
        query = query.select_from(turns.join(messages, turns.c.message == messages.c.id))
        mine = select(threads.c.id).where(threads.c.id == turn_id.rpartition("-")[0]).with_for_update()
        async with self._database.begin() as connection:
            await connection.execute(mine)  # two presses at once: the second sees what the first has added
            row = (await connection.execute(query)).first()
            if row is None:
                raise LookupError(f"no turn {turn_id}")
            at_work = select(turns.c.id).where(turns.c.message == row.message, turns.c.status.not_in(ENDED))
            if (await connection.execute(at_work)).first() is not None:
                raise Refused("I am at it already.")
            return await self._add_turn(connection, row.thread_id, row.message, message_from_json(row.body))

    async def _add_turn(self, connection: AsyncConnection, thread: str, number: int, message: IncomingMessage) -> Turn:
        now = self._clock()
        counted = await connection.execute(
            update(threads)
            .where(threads.c.id == thread)
            .values(arrivals=threads.c.arrivals + 1)
            .returning(threads.c.arrivals)
        )
        turn_id = f"{thread}-{counted.scalar_one():0{ARRIVAL_DIGITS}}"
        row = {"id": turn_id, "thread_id": thread, "message": number, "status": "queued", "released": False,
               "created_at": now}  # fmt: skip
        await connection.execute(insert(turns).values(**row))
        return Turn(id=turn_id, thread_id=thread, key=message.key, message=message, status="queued", created_at=now)

    async def _is_claimed(self, message: IncomingMessage) -> bool:
        where = [getattr(messages.c, name) == value for name, value in columns(message.key).items()]
        query = select(messages.c.id).where(*where, messages.c.message_id == message.message_id)
        async with self._database.begin() as connection:
            return (await connection.execute(query)).first() is not None

    async def queued_by(self, author_id: str, platform: str) -> int:
        """See bot.store_ports.Inbox."""
        query = (
            select(func.count())
            .select_from(turns.join(messages, turns.c.message == messages.c.id))
            .where(
                messages.c.author_id == author_id,
                messages.c.platform == platform,
                turns.c.status == "queued",
            )
        )
        async with self._database.begin() as connection:
            return int((await connection.execute(query)).scalar_one())

    async def is_engaged(self, key: ThreadKey) -> bool:
        """See bot.store_ports.Inbox."""
        query = select(threads.c.arrivals).where(threads.c.id == thread_id(key))
        async with self._database.begin() as connection:
            return bool((await connection.execute(query)).scalar_one_or_none())


TURN_QUERY = select(turns.c.id, turns.c.thread_id, turns.c.status, turns.c.created_at, messages.c.body).select_from(
    turns.join(messages, turns.c.message == messages.c.id)
)


def turn_from_row(row: RowMapping) -> Turn:
    """A row of TURN_QUERY as a Turn."""
    message = message_from_json(row["body"])
    return Turn(
        id=row["id"],
        thread_id=row["thread_id"],
        key=message.key,
        message=message,
        status=row["status"],
        created_at=row["created_at"],
    )


def columns(key: ThreadKey) -> dict[str, str]:
    """Where a thread is, but for the thread itself."""
    return {"platform": key.platform, "workspace": key.workspace, "channel": key.channel}
