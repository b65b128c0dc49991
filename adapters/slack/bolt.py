"""The Bolt app: which delivery goes to which listener."""

from __future__ import annotations

import re
from typing import Any

from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncRespond
from slack_bolt.authorization import AuthorizeResult

from adapters.slack import forms
from adapters.slack.calls import SlackCalls
from adapters.slack.config import SlackConfig
from adapters.slack.inbound import Identity
from adapters.slack.listeners import SlackListeners

Json = dict[str, Any]

_OURS = re.compile(r"^threadbox_")


def make_app(config: SlackConfig, calls: SlackCalls, us: Identity, listeners: SlackListeners) -> AsyncApp:
    """An app that answers Slack once our database has what Slack said."""

    async def authorize() -> AuthorizeResult:  # Bolt's own would ask auth.test in the middle of the first deliveries
        return AuthorizeResult(
            enterprise_id=us.enterprise_id or None,
            team_id=us.team_id,
            bot_user_id=us.user_id,
            bot_id=us.bot_id,
            bot_token=config.bot_token,
        )

    app = AsyncApp(
        name="threadbox",
        client=calls.client,
        authorize=authorize,
        signing_secret=config.signing_secret,
        process_before_response=True,
        attaching_conversation_kwargs_enabled=False,
        ignoring_self_assistant_message_events_enabled=False,
    )
    _events(app, listeners)
    _presses(app, listeners, config.command)
    return app


def _events(app: AsyncApp, listeners: SlackListeners) -> None:
    async def said(event: Json, body: Json) -> None:
        await listeners.said(event, body)

    async def home(event: Json, body: Json) -> None:
        await listeners.home(event, body)

    async def stopped(event: Json, body: Json) -> None:
        await listeners.stopped(event, body)

    async def nothing() -> None:
        """An event that the manifest asks for and nobody needs here, as reactions of others."""

    app.event("app_mention")(said)
    app.event("message")(said)
    app.event("app_home_opened")(ack=nothing, lazy=[home])
    app.event("agent_session_stopped")(stopped)
    app.event(re.compile(".*"))(nothing)


def _presses(app: AsyncApp, listeners: SlackListeners, command: str) -> None:
    async def now(ack: AsyncAck) -> None:
        await ack()

    async def commanded(body: Json, respond: AsyncRespond) -> None:
        await listeners.command(body, respond)

    async def pressed(body: Json, action: Json) -> None:
        await listeners.pressed(body, action)

    async def shortcut(body: Json) -> None:
        await listeners.shortcut(body)

    async def submitted(ack: AsyncAck, body: Json, view: Json) -> None:
        mistakes = await listeners.submitted(body, view)
        if mistakes:
            await ack(response_action="errors", errors=mistakes)
        else:
            await ack()

    app.command(command)(ack=now, lazy=[commanded])
    app.action(_OURS)(ack=now, lazy=[pressed])
    app.shortcut(_OURS)(ack=now, lazy=[shortcut])
    app.view(forms.CONFIG_FORM)(submitted)
