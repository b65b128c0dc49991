"""Who writes: asked of Slack, believed for some minutes. Nobody is let in because Slack did not answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from cachetools import TTLCache

from adapters.slack.calls import SlackCalls, SlackRefused
from adapters.slack.config import PEOPLE_KEPT, PERSON_SECONDS
from adapters.slack.inbound import Identity, person
from bot.budget import Priority
from bot.model import Person

log = structlog.get_logger()


class People:
    """Bounded; several who ask for the same person at once ask Slack once."""

    def __init__(self, calls: SlackCalls, us: Identity, admins: frozenset[str], clock: Callable[[], float]) -> None:
        self._calls = calls
        self._us = us
        self._admins = admins
        self._known: TTLCache[str, Person] = TTLCache(PEOPLE_KEPT, PERSON_SECONDS, timer=clock)
        self._asking: dict[str, asyncio.Future[Person]] = {}

    async def person(self, user_id: str) -> Person:
        """Somebody by id; `unknown` when Slack would not say."""
        found = self._known.get(user_id)
        if found is not None:
            return found
        asking = self._asking.get(user_id)
        if asking is None:
            asking = self._asking[user_id] = asyncio.ensure_future(self._ask(user_id))
            asking.add_done_callback(lambda _: self._asking.pop(user_id, None))
        return await asyncio.shield(asking)

    async def _ask(self, user_id: str) -> Person:
        try:
            answer = await self._calls.call("users.info", priority=Priority.FINAL, user=user_id)
        except (SlackRefused, OSError) as error:
            log.warning("slack.person_unknown", error=str(error))
            return Person(id=user_id, name=user_id, standing="unknown")
        known = person(answer.get("user") or {}, self._us, self._admins)
        self._known[user_id] = known
        return known
