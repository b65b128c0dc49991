"""Who writes: asked of Slack, believed for some minutes. Nobody is let in because Slack did not answer."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable

import structlog

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
        self._clock = clock
        self._known: OrderedDict[str, tuple[float, Person]] = OrderedDict()
        self._asking: dict[str, asyncio.Future[Person]] = {}

    async def person(self, user_id: str) -> Person:
        """Somebody by id; `unknown` when Slack would not say."""
        found = self._known.get(user_id)
        if found is not None and found[0] > self._clock():
            return found[1]
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
        self._known[user_id] = (self._clock() + PERSON_SECONDS, known)
        self._known.move_to_end(user_id)
        while len(self._known) > PEOPLE_KEPT:
            self._known.popitem(last=False)
        return known
