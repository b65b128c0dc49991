"""The Bolt app: which delivery goes to which listener."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Coroutine
from typing import Any

import structlog
from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncRespond
from slack_bolt.authorization import AuthorizeResult

from adapters.slack import forms
from adapters.slack.calls import SlackCalls
from adapters.slack.config import SlackConfig
from adapters.slack.inbound import Identity
from adapters.slack.listeners import Later, SlackListeners

Json = dict[str, Any]

log = structlog.get_logger()

BACKGROUND_MOST = 500
_OURS = re.compile(r"^threadbox_")


def make_app(config: SlackConfig, calls: SlackCalls, us: Identity, listeners: SlackListeners, later: Later) -> AsyncApp:
    """An app that answers Slack once our database has what Slack said; presses are answered first and done `later`."""

    async def authorize() -> AuthorizeResult:  # Bolt's own would ask auth.test in the middle of the first deliveries
        return AuthorizeResult(
            enterprise_id=us.enterprise_id or None,
            team_id=us.team_id,
            bot_user_id=us.user_id,
            bot_id=us.bot_id,
            bot_token=config.bot_token,
        )

    logging.getLogger("slack_bolt.AsyncApp").setLevel(logging.ERROR)  # it warns of a token beside `authorize`
    app = AsyncApp(
        name="threadbox",
        client=calls.client,
        authorize=authorize,
        signing_secret=config.signing_secret,
        process_before_response=True,
        attaching_conversation_kwargs_enabled=False,
        ignoring_self_assistant_message_events_enabled=False,
    )
    _events(app, listeners, later)
    _presses(app, listeners, config.command, later)
    return app


def _events(app: AsyncApp, listeners: SlackListeners, later: Later) -> None:
    async def said(event: Json) -> None:
        await listeners.said(event)

    async def home(event: Json) -> None:
        later(listeners.home(event))

    async def stopped(event: Json) -> None:
        await listeners.stopped(event)

    async def nothing() -> None:
        """An event that the manifest asks for and nobody needs here, as reactions of others."""

    app.event("app_mention")(said)
    app.event("message")(said)
    app.event("app_home_opened")(home)
    app.event("agent_session_stopped")(stopped)
    app.event(re.compile(".*"))(nothing)


def _presses(app: AsyncApp, listeners: SlackListeners, command: str, later: Later) -> None:
    async def commanded(ack: AsyncAck, body: Json, respond: AsyncRespond) -> None:
        await ack()
        later(listeners.command(body, respond))

    async def pressed(ack: AsyncAck, body: Json, action: Json) -> None:
        await ack()
        later(listeners.pressed(body, action))

    async def shortcut(ack: AsyncAck, body: Json) -> None:
        await ack()
        later(listeners.shortcut(body))

    async def submitted(ack: AsyncAck, body: Json, view: Json) -> None:
        mistakes = await listeners.submitted(body, view)
        if mistakes:
            await ack(response_action="errors", errors=mistakes)
        else:
            await ack()

    app.command(command)(commanded)
    app.action(_OURS)(pressed)
    app.shortcut(_OURS)(shortcut)
    app.view(forms.CONFIG_FORM)(submitted)


class Background:
    """Work that goes on after Slack has its acknowledgement: bounded, and a failure of one is no other's."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._running: set[asyncio.Task[None]] = set()

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin; more than `BACKGROUND_MOST` at once are refused, and who pressed sees nothing happen."""
        if len(self._running) >= BACKGROUND_MOST:
            log.warning("slack.too_busy")
            work.close()
            return
        task = self._group.create_task(self._guarded(work), name="slack-press")
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:  # one press that fails must not end the others
            log.exception("slack.press_failed")

    def cancel(self) -> None:
        """End what runs."""
        for task in list(self._running):
            task.cancel()
