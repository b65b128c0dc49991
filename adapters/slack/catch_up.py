"""After a gap: what was said in threads of ours and in their channels meanwhile, through the same intake, once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import structlog

from adapters.slack.calls import SlackCalls, SlackRefused
from adapters.slack.config import CATCH_UP_HOURS, CATCH_UP_THREADS, NAME
from adapters.slack.inbound import Identity, is_spoken, ts_of
from adapters.slack.listeners import SlackListeners
from bot.budget import Priority
from bot.model import ThreadKey
from bot.store_ports import People

log = structlog.get_logger()

Json = dict[str, Any]

PAGE = 200
PAGES_MOST = 10  # of one thread or channel
AGAIN_SECONDS = 60.0


class CatchUp:
    """`wanted` returns at once; `run` does it, one gap after another."""

    def __init__(
        self,
        calls: SlackCalls,
        people: People,
        listeners: SlackListeners,
        us: Identity,
        clock: Callable[[], datetime],
    ) -> None:
        self._calls = calls
        self._people = people
        self._listeners = listeners
        self._us = us
        self._clock = clock
        self._wake = asyncio.Event()

    def wanted(self) -> None:
        """There was a gap."""
        self._wake.set()

    async def run(self) -> None:
        """Catch up after each gap, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._catch_up()
            except Exception:  # whatever it was, what was missed is still to be read
                log.exception("slack.catch_up_failed")
                await asyncio.sleep(AGAIN_SECONDS)
                self._wake.set()

    async def _catch_up(self) -> None:
        since = self._clock() - timedelta(hours=CATCH_UP_HOURS)
        newest: dict[str, float] = {}
        for key, last_id in await self._people.engaged(NAME, since, CATCH_UP_THREADS):
            last = max(float(ts_of(last_id)), since.timestamp())
            newest[key.channel] = max(newest.get(key.channel, 0.0), last)
            await self._read("conversations.replies", key, last, ts=key.thread)
        for channel, last in newest.items():
            await self._read("conversations.history", self._us.place(channel), last)

    async def _read(self, method: str, key: ThreadKey, last: float, **arguments: Any) -> None:
        missed: list[Json] = []
        cursor: str | None = None
        for _ in range(PAGES_MOST):
            try:
                page = await self._calls.call(
                    method,
                    priority=Priority.BACKGROUND,
                    channel=key.channel,
                    oldest=f"{last:.6f}",
                    limit=PAGE,
                    cursor=cursor,
                    **arguments,
                )
            except SlackRefused as error:  # a channel that we were put out of, a thread that is gone
                log.info("slack.not_caught_up", channel=key.channel, reason=error.reason)
                return
            missed += [said for said in page.get("messages") or [] if float(said.get("ts", 0)) > last]
            cursor = (page.get("response_metadata") or {}).get("next_cursor")
            if not cursor:
                break
        for said in sorted(missed, key=lambda said: float(said["ts"])):
            if is_spoken(said, self._us):
                await self._listeners.missed(said | {"channel": key.channel})
