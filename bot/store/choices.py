"""What people chose: options by scope, feedback; and which events were seen before."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from bot.model import ThreadKey
from bot.options import Scope
from bot.ports import Clock
from bot.store.database import Database
from bot.store.schema import deliveries, feedback, options, turns

DELIVERIES_KEPT = timedelta(hours=24)  # platforms deliver again for minutes


class SqlChoices:
    """The Choices port on SQL."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def stored(self, key: ThreadKey) -> Mapping[Scope, Mapping[str, str]]:
        """See bot.store_ports.Choices."""
        query = select(options.c.channel, options.c.thread, options.c.name, options.c.value).where(
            options.c.platform == key.platform,
            options.c.workspace == key.workspace,
            options.c.channel.in_(("", key.channel)),
            options.c.thread.in_(("", key.thread)),
        )
        found: dict[Scope, dict[str, str]] = {}
        async with self._database.begin() as connection:
            for channel, thread, name, value in await connection.execute(query):
                scope: Scope = "thread" if thread else "channel" if channel else "workspace"
                found.setdefault(scope, {})[name] = value
        return found

    async def set(self, key: ThreadKey, scope: Scope, name: str, value: str, by: str) -> None:
        """See bot.store_ports.Choices."""
        place = _place(key, scope)
        mine = [options.c[column] == content for column, content in place.items()] + [options.c.name == name]
        row = {"value": value, "set_by": by, "set_at": self._clock()}
        async with self._database.begin() as connection:
            changed = await connection.execute(update(options).where(*mine).values(**row))
            if changed.rowcount == 0:
                await connection.execute(insert(options).values(**place, name=name, **row))

    async def unset(self, key: ThreadKey, scope: Scope, name: str) -> bool:
        """See bot.store_ports.Choices."""
        mine = [options.c[column] == content for column, content in _place(key, scope).items()]
        async with self._database.begin() as connection:
            return (await connection.execute(delete(options).where(*mine, options.c.name == name))).rowcount > 0

    async def judge(self, turn_id: str, person_id: str, value: int) -> bool:
        """See bot.store_ports.Choices."""
        mine = (feedback.c.turn_id == turn_id) & (feedback.c.person_id == person_id)
        row = {"value": value, "given_at": self._clock()}
        async with self._database.begin() as connection:
            if (await connection.execute(select(turns.c.id).where(turns.c.id == turn_id))).first() is None:
                return False
            changed = await connection.execute(update(feedback).where(mine).values(**row))
            if changed.rowcount == 0:
                await connection.execute(insert(feedback).values(turn_id=turn_id, person_id=person_id, **row))
        return True

    async def is_new(self, platform: str, event_id: str) -> bool:
        """See bot.store_ports.Choices."""
        now = self._clock()
        try:
            async with self._database.begin() as connection:
                await connection.execute(delete(deliveries).where(deliveries.c.seen_at < now - DELIVERIES_KEPT))
                await connection.execute(insert(deliveries).values(platform=platform, event_id=event_id, seen_at=now))
        except IntegrityError:
            return False
        return True


def _place(key: ThreadKey, scope: Scope) -> dict[str, str]:
    return {
        "platform": key.platform,
        "workspace": key.workspace,
        "channel": "" if scope == "workspace" else key.channel,
        "thread": key.thread if scope == "thread" else "",
    }
