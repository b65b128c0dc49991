"""Everything of Slack made in order, for the length of a block."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import structlog
from slack_bolt.adapter.starlette.async_handler import AsyncSlackRequestHandler
from slack_bolt.async_app import AsyncApp
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from adapters.slack.adapter import SlackPlatform
from adapters.slack.bolt import Background, make_app
from adapters.slack.calls import SlackCalls, SlackRefused
from adapters.slack.catch_up import CatchUp
from adapters.slack.config import BODY_BYTES, QUIET_SECONDS, WATCH_SECONDS, SlackConfig, rate_of
from adapters.slack.inbound import Identity
from adapters.slack.listeners import SlackListeners
from adapters.slack.people import People
from adapters.slack.signs import Signs
from adapters.slack.socket import Socket, first_socket
from adapters.slack.stream import Streams
from bot.budget import Priority, Rate
from bot.core import Core
from bot.errors import ConfigurationError
from bot.http_server import http_serving
from bot.store_ports import Artifacts
from bot.store_ports import People as PeopleStore

log = structlog.get_logger()

PATH = "/slack/events"
WATCH = (WATCH_SECONDS, QUIET_SECONDS)
_BAD_TOKEN = {"invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackStore:
    """What the adapter keeps and reads of ours."""

    artifacts: Artifacts
    people: PeopleStore


class Slack:
    """The platform, connected to Slack but not yet to its deliveries."""

    def __init__(self, config: SlackConfig, calls: SlackCalls, us: Identity, url: str, store: SlackStore) -> None:
        clock = time.monotonic
        self._config = config
        self._calls = calls
        self._us = us
        self._url = url
        self._store = store
        self.listeners: SlackListeners
        self._people = People(calls, us, config.admins, clock)
        self._signs = Signs(calls, clock)
        self.platform = SlackPlatform(calls, self._people, self._signs, Streams(calls, clock), store.artifacts, us)

    @asynccontextmanager
    async def serving(self, core: Core) -> AsyncIterator[str]:
        """Take deliveries; how, in words. Raises ConfigurationError."""
        first_address = await first_socket(self._calls, self._config.app_token) if self._config.app_token else None
        async with AsyncExitStack() as stack:
            group = await stack.enter_async_context(asyncio.TaskGroup())
            background = Background(group)
            stack.callback(background.cancel)
            listeners = self.listeners = self._listeners(core, background)
            catch_up = CatchUp(self._calls, self._store.people, listeners, self._us, core.clock)
            for name, work in (("signs", self._signs.run()), ("catch-up", catch_up.run())):
                stack.callback(group.create_task(work, name=f"slack-{name}").cancel)
            app = make_app(self._config, self._calls, self._us, listeners, background.later)
            if self._config.app_token:
                socket = Socket(app, self._config.app_token, self._calls, catch_up.wanted, time.monotonic, *WATCH)
                connected = asyncio.Event()
                running = group.create_task(socket.run(first_address, connected.set), name="slack-socket")
                stack.callback(running.cancel)
                await connected.wait()
                words = "by Socket Mode"
            else:
                serving = http_serving(
                    web_app(app), self._config.host, self._config.port, setting="THREADBOX_SLACK_PORT"
                )
                words = f"on {await stack.enter_async_context(serving)}"
                catch_up.wanted()
            yield f"Slack ({self._us.team_id}) {words}"

    def _listeners(self, core: Core, background: Background) -> SlackListeners:
        listeners = SlackListeners(
            core, self.platform, self._people, self._calls, self._us, self._config.command, background.later
        )
        listeners.url = self._url
        return listeners


@asynccontextmanager
async def slack(config: SlackConfig, store: SlackStore, rates: Callable[[str], Rate] = rate_of) -> AsyncIterator[Slack]:
    """Find out who we are, and be ready to answer. Raises ConfigurationError when Slack refuses the token."""
    async with SlackCalls(config, time.monotonic, rates) as calls:
        try:
            me = await calls.call("auth.test", priority=Priority.FINAL)
        except SlackRefused as error:
            if error.reason in _BAD_TOKEN:
                raise ConfigurationError(f"Slack refused SLACK_BOT_TOKEN ({error.reason}).") from None
            raise ConfigurationError(f"Slack does not say who I am ({error.reason}).") from None
        except OSError as error:
            raise ConfigurationError(f"Slack cannot be reached at {config.base_url} ({error}).") from None
        us = Identity(
            user_id=str(me.get("user_id", "")),
            bot_id=str(me.get("bot_id", "")),
            team_id=str(me.get("team_id", "")),
            enterprise_id=str(me.get("enterprise_id") or ""),
        )
        yield Slack(config, calls, us, str(me.get("url") or ""), store)


def web_app(app: AsyncApp) -> Starlette:
    """The HTTP end of Events API, commands and interactivity: one path. What is not Slack's is 401, never 500."""
    handler = AsyncSlackRequestHandler(app)

    async def events(request: Request) -> Response:
        stamp = request.headers.get("x-slack-request-timestamp", "")
        if not (stamp.isascii() and stamp.isdigit()) or not request.headers.get("x-slack-signature", "").isascii():
            return PlainTextResponse("no signature of Slack's", 401)
        size = request.headers.get("content-length", "")
        if not size.isdigit() or int(size) > BODY_BYTES:
            return PlainTextResponse("too large", 413)
        try:
            (await request.body()).decode("utf-8")
        except UnicodeDecodeError:
            return PlainTextResponse("not text", 400)
        return await handler.handle(request)

    return Starlette(routes=[Route(PATH, events, methods=["POST"])])
