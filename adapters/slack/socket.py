"""Socket Mode with a watchdog: Slack's own client reconnects, and we see to it that it does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import aiohttp
import structlog
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from slack_sdk.errors import SlackApiError

from adapters.slack.calls import SlackCalls, SlackRefused, reason_of
from adapters.slack.config import QUIET_SECONDS, WATCH_SECONDS
from bot.budget import Priority
from bot.errors import ConfigurationError

log = structlog.get_logger()

PING_SECONDS = 5.0
CONNECT_SECONDS = 60.0
CLOSE_SECONDS = 5.0
POKES = 6  # quiet spells until a connection that seems well is made anew

_BAD_TOKEN = {"invalid_auth", "not_authed", "not_allowed_token_type", "account_inactive", "missing_scope"}


class Socket:
    """`run` holds one connection until it is cancelled; `on_hello` is called after each new one."""

    def __init__(
        self,
        app: AsyncApp,
        app_token: str,
        calls: SlackCalls,
        on_hello: Callable[[], None],
        clock: Callable[[], float],
        watch_seconds: float = WATCH_SECONDS,
        quiet_seconds: float = QUIET_SECONDS,
    ) -> None:
        self._app = app
        self._token = app_token
        self._calls = calls
        self._on_hello = on_hello
        self._clock = clock
        self._watch_seconds = watch_seconds
        self._quiet_seconds = quiet_seconds
        self._heard_at = clock()
        self._poked = 0

    async def run(self, address: str | None, ready: Callable[[], None]) -> None:
        """Connect, to `address` first where there is one; say `ready`, and watch."""
        handler = AsyncSocketModeHandler(
            self._app, self._token, web_client=self._calls.client, ping_interval=PING_SECONDS
        )
        client = handler.client
        # where this is None its connect() asks for one
        client.wss_uri = address
        client.on_message_listeners.append(self._heard)
        try:
            await handler.connect_async()  # type: ignore[no-untyped-call]
            ready()
            while True:
                await asyncio.sleep(self._watch_seconds)
                await self._watch(handler)
        finally:
            async with asyncio.timeout(CLOSE_SECONDS):
                await handler.close_async()  # type: ignore[no-untyped-call]

    async def _heard(self, message: aiohttp.WSMessage) -> None:
        self._heard_at, self._poked = self._clock(), 0
        if '"hello"' in str(message.data)[:200]:
            try:
                if json.loads(message.data).get("type") == "hello":
                    self._on_hello()
            except (ValueError, AttributeError):
                return

    async def _watch(self, handler: AsyncSocketModeHandler) -> None:
        """A connection may be up and bring nothing: a call wakes it, a new connection is sure to."""
        quiet = self._clock() - self._heard_at
        connected = await handler.client.is_connected()
        if connected and quiet < self._quiet_seconds * (self._poked + 1):
            return
        self._poked += 1
        if connected and self._poked < POKES:  # nobody may have said anything
            await self._poke()
            return
        log.info("slack.reconnect", connected=connected, quiet_s=round(quiet))
        self._heard_at, self._poked = self._clock(), 0
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await handler.client.connect_to_new_endpoint(force=True)
        except (SlackApiError, aiohttp.ClientError, OSError) as error:  # the next look tries again
            log.warning("slack.reconnect_failed", error=type(error).__name__)

    async def _poke(self) -> None:
        try:
            await self._calls.call("auth.test", priority=Priority.BACKGROUND)
        except (SlackRefused, OSError) as error:
            log.warning("slack.unreachable", error=str(error))


async def first_socket(calls: SlackCalls, app_token: str) -> str | None:
    """Where to connect first; None where Slack does not answer now. Raises ConfigurationError for a wrong token."""
    try:
        answer = await calls.client.apps_connections_open(app_token=app_token)
    except SlackApiError as error:
        word = reason_of(error)
        if word in _BAD_TOKEN:
            raise ConfigurationError(
                f"Slack refused SLACK_APP_TOKEN ({word}). It must be an app-level token with connections:write."
            ) from None
        log.warning("slack.connect_failed", reason=word)
        return None
    except (aiohttp.ClientError, OSError) as error:
        log.warning("slack.connect_failed", reason=type(error).__name__)
        return None
    return str(answer["url"])
