"""The connection to Discord's gateway: which event goes where, and a fresh client whenever one ends.

discord.py gives up for good when its first connection fails (Rapptz/discord.py#10520) and when a payload breaks its
parser, so nothing of a client that ended is used again.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import discord
import structlog
import yarl
from discord.gateway import DiscordWebSocket
from discord.http import Route

from adapters.discord.config import BACKOFF_MOST_SECONDS, PORTAL, RATE_SECONDS, STEADY_SECONDS, DiscordConfig
from bot.errors import ConfigurationError

log = structlog.get_logger()

FIRST_BACKOFF_SECONDS = 1.0
GUILDS_SECONDS = 2.0  # without another server told of until all are taken to be
NO_TOKEN = f"Discord refused DISCORD_BOT_TOKEN. Copy it again: {PORTAL}, your application, Bot, Reset Token."
NO_INTENT = (
    f"Discord does not let this bot read messages. Switch on Message Content Intent: {PORTAL}, your application, Bot; "
    "or set THREADBOX_DISCORD_MESSAGE_CONTENT=off."
)


# it logs a traceback for each attempt to connect again; that we do not hear is said once, by the listeners
logging.getLogger("discord.client").setLevel(logging.CRITICAL)
discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False  # we never speak


class Heard(Protocol):
    """What is done with what Discord tells us."""

    async def message(self, message: discord.Message) -> None:
        """Somebody wrote."""

    async def edited(self, event: discord.RawMessageUpdateEvent) -> None:
        """Somebody changed a message."""

    async def deleted(self, event: discord.RawMessageDeleteEvent | discord.RawBulkMessageDeleteEvent) -> None:
        """A message was deleted, or many."""

    async def reacted(self, event: discord.RawReactionActionEvent) -> None:
        """Somebody reacted."""

    async def thread_changed(self, event: discord.RawThreadUpdateEvent) -> None:
        """A thread was archived, locked, or something else."""

    async def gone(self, workspace: int, channel: int | None = None, thread: int | None = None) -> None:
        """A thread, a channel or a server is no more, or we are no longer in it."""

    async def interaction(self, interaction: discord.Interaction) -> None:
        """Somebody pressed, chose or sent a form."""

    async def connected(self, client: discord.Client) -> None:
        """There may have been a gap before."""

    async def disconnected(self) -> None:
        """Nothing is heard for now."""


class Events:
    """discord.py's events, each to its method; mixed into a client."""

    heard: Heard

    async def on_message(self, message: discord.Message) -> None:
        """See Heard."""
        await self.heard.message(message)

    async def on_raw_message_edit(self, payload: discord.RawMessageUpdateEvent) -> None:
        """See Heard."""
        await self.heard.edited(payload)

    async def on_raw_message_delete(self, payload: discord.RawMessageDeleteEvent) -> None:
        """See Heard."""
        await self.heard.deleted(payload)

    async def on_raw_bulk_message_delete(self, payload: discord.RawBulkMessageDeleteEvent) -> None:
        """See Heard."""
        await self.heard.deleted(payload)

    async def on_raw_reaction_add(self, payload: discord.RawReactionActionEvent) -> None:
        """See Heard."""
        await self.heard.reacted(payload)

    async def on_raw_thread_update(self, payload: discord.RawThreadUpdateEvent) -> None:
        """See Heard."""
        await self.heard.thread_changed(payload)

    async def on_raw_thread_delete(self, payload: discord.RawThreadDeleteEvent) -> None:
        """See Heard."""
        await self.heard.gone(payload.guild_id, payload.parent_id, payload.thread_id)

    async def on_guild_channel_delete(self, channel: discord.abc.GuildChannel) -> None:
        """See Heard."""
        await self.heard.gone(channel.guild.id, channel.id)

    async def on_guild_remove(self, guild: discord.Guild) -> None:
        """See Heard."""
        await self.heard.gone(guild.id)

    async def on_interaction(self, interaction: discord.Interaction) -> None:
        """See Heard."""
        await self.heard.interaction(interaction)

    async def on_ready(self) -> None:
        """See Heard."""
        assert isinstance(self, discord.Client)  # noqa: S101 - it is mixed into one
        await self.heard.connected(self)

    async def on_disconnect(self) -> None:
        """See Heard."""
        await self.heard.disconnected()

    async def on_resumed(self) -> None:
        """See Heard."""
        await self.on_ready()

    async def on_error(self, event_method: str, /, *args: Any, **kwargs: Any) -> None:
        """One event that fails is no other's."""
        log.exception("discord.event_failed", of=event_method)


class GatewayClient(Events, discord.Client):
    """One connection."""


class ShardedClient(Events, discord.AutoShardedClient):
    """Several, for bots in thousands of servers."""


SetUp = Callable[[discord.Client], Awaitable[None]]


def make_client(config: DiscordConfig, heard: Heard, *, reads_messages: bool) -> discord.Client:
    """A client that has not connected yet."""
    options: dict[str, Any] = {
        "intents": intents(reads_messages=reads_messages),
        "allowed_mentions": discord.AllowedMentions.none(),
        "max_messages": None,
        "member_cache_flags": discord.MemberCacheFlags.none(),
        "chunk_guilds_at_startup": False,
        "max_ratelimit_timeout": RATE_SECONDS,
        "guild_ready_timeout": GUILDS_SECONDS,
    }
    client: GatewayClient | ShardedClient
    if config.shards:
        count = int(config.shards) if config.shards != "auto" else None
        client = ShardedClient(shard_count=count, **options)
    else:
        client = GatewayClient(**options)
    client.heard = heard
    return client


def intents(*, reads_messages: bool) -> discord.Intents:
    """What we listen to."""
    wanted = discord.Intents.none()
    wanted.guilds = wanted.guild_messages = wanted.dm_messages = True
    wanted.guild_reactions = wanted.dm_reactions = True
    wanted.message_content = reads_messages
    return wanted


def use_addresses(config: DiscordConfig) -> None:
    """Where discord.py finds Discord: it keeps both with the classes."""
    Route.BASE = config.api_url.rstrip("/")
    DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(config.gateway_url)


async def run_forever(config: DiscordConfig, make: Callable[[], discord.Client], set_up: SetUp) -> None:
    """Hold a connection until cancelled. Raises ConfigurationError for what no attempt can mend."""
    wait = FIRST_BACKOFF_SECONDS
    loop = asyncio.get_running_loop()
    while True:
        began = loop.time()
        client = make()
        try:
            await client.login(config.token)
            await set_up(client)
            await client.connect()
        except discord.LoginFailure:
            raise ConfigurationError(NO_TOKEN) from None
        except discord.PrivilegedIntentsRequired:
            raise ConfigurationError(NO_INTENT) from None
        except discord.ConnectionClosed as error:
            if error.code == 4004:
                raise ConfigurationError(NO_TOKEN) from None
            log.warning("discord.connection_closed", closed_with=error.code)
        except Exception:  # whatever a client may end with, a fresh one is tried
            log.exception("discord.client_ended")
        finally:
            await _close(client)
        if loop.time() - began > STEADY_SECONDS:
            wait = FIRST_BACKOFF_SECONDS
        await asyncio.sleep(wait * random.uniform(0.8, 1.2))  # noqa: S311 - so that many bots do not come together
        wait = min(wait * 2, BACKOFF_MOST_SECONDS)


async def _close(client: discord.Client) -> None:
    try:
        await client.close()
    except Exception:  # it ended already, one way or another
        log.exception("discord.close_failed")
