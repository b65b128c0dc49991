"""Signs on people's messages and the native status of a thread: at once where the budget allows, never in the way."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping

import structlog

from adapters.slack.calls import SlackCalls, SlackRefused
from adapters.slack.config import STATUS_SECONDS
from bot.budget import Priority
from bot.model import ThreadKey
from bot.ports import Sign
from bot.signs import Reactions, SignQueue

log = structlog.get_logger()

EMOJI: dict[Sign, str] = {
    "seen": "eyes",
    "queued": "hourglass_flowing_sand",
    "working": "eyes",
    "done": "white_check_mark",
    "failed": "x",
    "stopped": "octagonal_sign",
}
WORKING_WORDS = "is working…"
LOADING = ["is thinking…", "is writing code…", "is running it in the sandbox…"]
ROOM_FOR_STATUS = 10.0

Where = tuple[str, str]
"""Channel and ts of a message."""


class Signs:
    """`want` returns at once; of several signs for one message the newest counts."""

    def __init__(self, calls: SlackCalls, clock: Callable[[], float]) -> None:
        self._calls = calls
        self._clock = clock
        self._queue = SignQueue(self._show)
        self._reactions = Reactions(EMOJI, self._add, self._remove)
        self._working: dict[ThreadKey, float] = {}
        self._statuses: OrderedDict[ThreadKey, dict[str, str]] = OrderedDict()
        self._told: set[str] = set()
        self._status_wake = asyncio.Event()

    def want(self, channel: str, ts: str, sign: Sign) -> None:
        """Show how a message's turn stands."""
        self._queue.want((channel, ts), sign)

    async def run(self) -> None:
        """Show what is wanted, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._queue.run(), name="slack-signs")
            group.create_task(self._tell_statuses(), name="slack-status")
            group.create_task(self._refresh(), name="slack-status-refresh")

    async def _tell_statuses(self) -> None:
        """One after another: an end must not overtake its beginning."""
        while True:
            while not self._statuses:
                self._status_wake.clear()
                await self._status_wake.wait()
            try:
                await self._status(*self._statuses.popitem(last=False))
            except Exception:  # nor one status
                log.exception("slack.status_broken")

    async def _show(self, where: Where, sign: Sign) -> None:
        try:
            await self._reactions.show(where, sign)
        except (SlackRefused, OSError, asyncio.QueueFull) as error:
            log.info("slack.sign_failed", sign=sign, error=str(error))

    async def _add(self, where: Where, emoji: str) -> None:
        await self._react("reactions.add", where, emoji, "already_reacted")

    async def _remove(self, where: Where, emoji: str) -> bool:
        if self._calls.budget.room("reactions.remove") < 2:  # it must cost nobody a sign
            return False
        await self._react("reactions.remove", where, emoji, "no_reaction")
        return True

    async def _react(self, method: str, where: Where, emoji: str, fine: str) -> None:
        channel, ts = where
        try:
            await self._calls.call(method, priority=Priority.SIGN, channel=channel, name=emoji, timestamp=ts)
        except SlackRefused as error:
            if error.reason != fine:
                raise

    # ---- the native status

    def working(self, key: ThreadKey, asker: str = "", title: str = "") -> None:
        """Say natively that we are at it; with a session Slack shows its own Stop."""
        self._working[key] = self._clock()
        self._statuses[key] = {"status": "processing", "initiator_user_id": asker, "title": title}
        self._status_wake.set()

    def at_rest(self, key: ThreadKey) -> None:
        """Say that we no longer are."""
        if self._working.pop(key, None) is not None:
            self._statuses[key] = {"status": "active"}
            self._status_wake.set()

    async def _refresh(self) -> None:
        """Say it again before Slack forgets it; a session it does not forget."""
        while True:
            await asyncio.sleep(STATUS_SECONDS / 3)
            now = self._clock()
            for key, since in list(self._working.items()):
                if now - since >= STATUS_SECONDS and not self._calls.has("agents.sessions.setStatus"):
                    self.working(key)

    async def _status(self, key: ThreadKey, wanted: dict[str, str]) -> None:
        status = wanted["status"]
        if status == "active" and key.thread not in self._told:
            return
        words = WORKING_WORDS if status == "processing" else ""
        named = {name: value for name, value in wanted.items() if value}
        session = {"channel_id": key.channel, "thread_ts": key.thread, **named}
        if await self._try("agents.sessions.setStatus", session):
            return
        status_line = {"channel_id": key.channel, "thread_ts": key.thread, "status": words}
        await self._try("assistant.threads.setStatus", status_line | ({"loading_messages": LOADING} if words else {}))

    async def _try(self, method: str, arguments: Mapping[str, object]) -> bool:
        """Whether the method is there; a call that cannot be afforded now is left out."""
        if not self._calls.has(method):
            return False
        processing = arguments["status"] not in ("active", "")
        if processing and self._calls.budget.room(method) < ROOM_FOR_STATUS:
            return True  # left out: each that is begun must be ended
        try:
            await self._calls.call(method, priority=Priority.SIGN, **arguments)
            (self._told.add if processing else self._told.discard)(str(arguments["thread_ts"]))
        except SlackRefused as error:
            if error.is_unavailable:
                self._calls.lacks(method)
                return False
            log.info("slack.status_failed", error=str(error))
        except OSError as error:
            log.info("slack.status_failed", error=str(error))
        return True
