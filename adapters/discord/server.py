"""Everything of Discord made in order, for the length of a block."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

import aiohttp
import discord
import structlog

from adapters.discord.adapter import DiscordPlatform
from adapters.discord.calls import Calls
from adapters.discord.cards import Cards
from adapters.discord.client import NO_TOKEN, make_client, run_forever, use_addresses
from adapters.discord.config import CONNECT_SECONDS, PORTAL, RATE_SECONDS, REFUSED_AGAIN_SECONDS, DiscordConfig
from adapters.discord.cursor import Cursor
from adapters.discord.inbound import Identity
from adapters.discord.listeners import DiscordListeners
from adapters.discord.places import Places
from adapters.discord.slash import Slash
from bot.core import Core
from bot.errors import ConfigurationError
from bot.model import ThreadKey
from bot.ports import Commands
from bot.store_ports import Artifacts, Memos, People

log = structlog.get_logger()

CANNOT_READ = (
    "without Message Content Intent: I answer mentions, replies to me and /ask, and no other messages in threads. "
    f"To change that: {PORTAL}, your application, Bot"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscordStore:
    """What the adapter keeps and reads of ours."""

    artifacts: Artifacts
    people: People
    memos: Memos


class Discord:
    """The platform, able to post, but not yet listening."""

    def __init__(
        self, config: DiscordConfig, rest: discord.Client, us: Identity, store: DiscordStore, commands: Commands
    ) -> None:
        self._config = config
        self.us = us
        self._store = store
        self._calls = Calls(rest, time.monotonic)

        async def answers_in_thread(key: ThreadKey) -> bool:
            fields = await commands.all_fields(key)
            return all(field.value == "thread" for field in fields if field.name == "answer_in")

        self._places = Places(self._calls, answers_in_thread)
        self._cards = Cards(self._calls, self._places, time.monotonic)
        self.platform = DiscordPlatform(config, self._calls, self._places, self._cards, store.artifacts, us)

    @asynccontextmanager
    async def listening(self, core: Core) -> AsyncIterator[tuple[DiscordListeners, Slash]]:
        """Everything but the connection: what is told to the listeners is handled."""
        async with AsyncExitStack() as stack:
            cursor = Cursor(self._calls, self._store.memos, self._store.people, core.clock)
            await cursor.load()
            listeners = DiscordListeners(
                core, self._config, self.us, self._calls, self._places, self._cards, self.platform, cursor
            )
            cursor.missed = listeners.message
            group = await stack.enter_async_context(asyncio.TaskGroup())
            for name, work in (
                ("signs", self.platform.signs.run()),
                ("cards", self._cards.run()),
                ("cursor", cursor.keep()),
                ("catch-up", cursor.catch_up()),
            ):
                stack.callback(group.create_task(work, name=f"discord-{name}").cancel)
            yield listeners, Slash(core, self.us, listeners.presses)

    @asynccontextmanager
    async def serving(self, core: Core) -> AsyncIterator[str]:
        """Hold the connection; how it stands, in words. Raises ConfigurationError."""
        async with AsyncExitStack() as stack:
            listeners, slash = await stack.enter_async_context(self.listening(core))
            ready = asyncio.Event()

            def make() -> discord.Client:
                return make_client(self._config, listeners, reads_messages=self.us.reads_messages)

            async def set_up(client: discord.Client) -> None:
                await slash.tell_discord(slash.tree(client), self._store.memos)

            listeners.on_connected = ready.set

            async def hold() -> None:
                """What no attempt can mend ends a start. Later it is said and tried again: others are served too."""
                while True:
                    try:
                        await run_forever(self._config, make, set_up)
                    except ConfigurationError as error:
                        if not ready.is_set():
                            raise
                        log.error("discord.refused", error=str(error), again_in_s=REFUSED_AGAIN_SECONDS)
                        await asyncio.sleep(REFUSED_AGAIN_SECONDS)

            running = asyncio.ensure_future(hold())
            stack.push_async_callback(_end, running)
            waiting = asyncio.ensure_future(ready.wait())
            await asyncio.wait({running, waiting}, timeout=CONNECT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if running.done():
                await running
            words = f"Discord as {self.us.name}" if ready.is_set() else "Discord does not answer yet; I go on trying"
            yield words if self.us.reads_messages else f"{words}, {CANNOT_READ}"


async def _end(running: asyncio.Future[None]) -> None:
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError, ConfigurationError):
        await running


@asynccontextmanager
async def discord_platform(config: DiscordConfig, store: DiscordStore, commands: Commands) -> AsyncIterator[Discord]:
    """Find out who we are, and be ready to answer. Raises ConfigurationError when Discord refuses the token."""
    async with logged_in(config) as rest:
        yield Discord(config, rest, identity(rest, config), store, commands)


@asynccontextmanager
async def logged_in(config: DiscordConfig) -> AsyncIterator[discord.Client]:
    """A client for calls alone: it outlives every connection. Raises ConfigurationError."""
    use_addresses(config)
    client = discord.Client(
        intents=discord.Intents(guilds=True),  # it never connects; without, discord.py warns
        allowed_mentions=discord.AllowedMentions.none(),
        max_messages=None,
        max_ratelimit_timeout=RATE_SECONDS,
    )
    try:
        await client.login(config.token)
    except discord.LoginFailure:
        raise ConfigurationError(NO_TOKEN) from None
    except (discord.DiscordException, aiohttp.ClientError, OSError) as error:
        raise ConfigurationError(f"Discord cannot be reached at {config.api_url} ({error}).") from None
    finally:
        if client.user is None:
            await client.close()
    try:
        yield client
    finally:
        await client.close()


def identity(client: discord.Client, config: DiscordConfig) -> Identity:
    """Who a client that is logged in is, and what Discord lets it read."""
    flags = client.application_flags
    allowed = flags.gateway_message_content or flags.gateway_message_content_limited
    us = Identity(user_id=0, application_id=client.application_id or 0)
    if client.user is None:
        return us
    return replace(
        us,
        user_id=client.user.id,
        name=client.user.name,
        reads_messages=config.message_content == "auto" and allowed,
    )
