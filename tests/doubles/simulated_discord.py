"""The real Discord adapter and discord.py on simcord's simulated Discord, in front of the whole bot.

simcord owns what the bot does as it handles an event, keeps virtual time for it and waits until it is done. Our parts
wait for threads and processes of their own, so they run beside that: simcord waits for the hand-over alone.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import discord
import simcord

from adapters.discord import DiscordConfig
from adapters.discord.client import make_client
from adapters.discord.server import Discord, identity
from sandbox.service import SandboxService
from tests.doubles.bot import Parts, running_parts
from tests.doubles.discord_bot import core_of, store_of
from tests.doubles.discord_schema import check

ENDS = {"✅", "❌", "🛑"}
MANAGES = discord.Permissions(manage_guild=True)

T = TypeVar("T")


class Beside:
    """Awaits what is beside simcord's own; made where a test runs, with what simcord put into its context."""

    def __init__(self) -> None:
        self._context = contextvars.copy_context()

    def of(self, work: Callable[..., Awaitable[T]]) -> Callable[..., Awaitable[T]]:
        async def done(*args: Any, **kwargs: Any) -> T:
            async def run() -> T:
                return await work(*args, **kwargs)

            return await asyncio.Task(run(), context=self._context.copy())  # the loop's would be simcord's

        return done


class Relay:
    """Heard, before there is anybody to hear: simcord connects a client as it begins."""

    def __init__(self) -> None:
        self.listeners: Any = None
        self.beside: Beside | None = None

    def __getattr__(self, name: str) -> Callable[..., Awaitable[None]]:
        async def hand_on(*args: Any, **kwargs: Any) -> None:
            if self.listeners is not None and self.beside is not None:
                await self.beside.of(getattr(self.listeners, name))(*args, **kwargs)

        return hand_on


@dataclass
class Simulated:
    """What a test drives: a server with a channel and three people, of whom Root manages it."""

    env: simcord.Env
    config: DiscordConfig
    parts: Parts
    guild: simcord.GuildHandle
    channel: simcord.ChannelHandle
    ada: simcord.MemberActor
    bob: simcord.MemberActor
    root: simcord.MemberActor
    beside: Beside = field(default_factory=Beside)
    discord: Discord = field(init=False)
    _life: AsyncExitStack = field(default_factory=AsyncExitStack)

    @property
    def us(self) -> discord.ClientUser:
        assert self.env.bot.user is not None
        return self.env.bot.user

    # ---- our bot

    async def begin(self, client: discord.Client) -> None:
        """Listen and tell the commands, as a process does that starts."""
        relay = client.heard  # type: ignore[attr-defined]
        us = replace(identity(client, self.config), reads_messages=self.config.message_content == "auto")
        made = self.discord = Discord(self.config, client, us, store_of(self.parts), self.parts.front.commands)
        made.platform.edit_seconds, made.platform.hold_seconds = 0.05, 0.0
        self.parts.platforms["discord"] = made.platform
        core = replace(core_of(self.parts), clock=self.env.now)
        relay.listeners, slash = await self._life.enter_async_context(made.listening(core))
        relay.beside = self.beside
        await relay.connected(client)
        tree = slash.tree(client)
        tree._call = self.beside.of(tree._call)  # type: ignore[method-assign]
        await slash.tell_discord(tree, store_of(self.parts).memos)

    async def aclose(self) -> None:
        await self._life.aclose()
        self._life = AsyncExitStack()

    async def restart(self, **settings: Any) -> None:
        """Another process, maybe with other settings: nothing but the database and the sandboxes is left."""
        await self.aclose()
        self.config = replace(self.config, **settings)
        client = new_client(self.config)
        await self.env.restart_bot(client)
        await self.begin(client)

    # ---- what people do

    async def run(self, code: str, channel: simcord.ChannelHandle | None = None) -> discord.Message:
        """Ada has code run; the message that asked for it, once that is done."""
        asked = await self.ada.send(channel or self.channel, f"{self.us.mention}\n{block(code)}")
        assert await self.ended(asked) == "✅"
        return asked

    def no_longer_manages(self, who: simcord.MemberActor) -> None:
        self.env.backend.get_guild(self.guild.id).members[who.id].role_ids.clear()

    # ---- what people see

    async def ended(self, asked: discord.Message) -> str:
        """The sign on a message once its turn is over."""
        return await until(lambda: next(iter(self.signs(asked) & ENDS), ""))

    def signs(self, asked: discord.Message) -> set[str]:
        found = next((one for one in self.said(asked.channel.id) if one.id == asked.id), None)
        return {str(reaction.emoji) for reaction in found.reactions} if found is not None else set()

    def place(self, channel: int) -> simcord.ChannelHandle:
        """A channel, a thread by the message it began with, or a direct conversation."""
        return simcord.ChannelHandle(self.env, self.guild, self.env.backend.get_channel(channel))

    def said(self, channel: int) -> list[discord.Message]:
        return self.place(channel).history() if channel in self.env.backend.channels else []

    def ours(self, channel: int) -> list[discord.Message]:
        """What we said in a channel for all to see."""
        mine = (one for one in self.said(channel) if one.author.id == self.us.id)
        return [one for one in mine if not one.flags.ephemeral and not one.is_system()]

    def shown(self, channel: int) -> str:
        return "\n".join(one.content for one in self.ours(channel))

    def told(self, result: simcord.InteractionResult) -> str:
        """The answer to who pressed or commanded: nobody else sees any of it."""
        answers = [one for one in (result.response, *result.followups) if one is not None]
        assert answers, "no answer"
        assert all(one.ephemeral for one in answers)
        return "\n".join(one.content for one in answers)

    def violations(self) -> list[str]:
        """What of all that was sent Discord's own description would not take. Nonces and files are not in the log."""
        sent = self.env.http_requests
        found = [one for entry in sent for one in check(entry.method, entry.path.partition("?")[0], entry.json)]
        return [one for one in found if "nonce" not in one]

    def pinged(self) -> set[int]:
        """Whom we let Discord notify, over everything we posted; 0 for a whole group of people."""
        found: set[int] = set()
        for request in self.env.http_requests:
            body = request.json if isinstance(request.json, dict) else {}
            body = body.get("data") or body
            if not isinstance(body, dict) or not (body.get("content") or "allowed_mentions" in body):
                continue
            allowed = body.get("allowed_mentions") or {"parse": ["not said"]}
            found |= {int(user) for user in allowed.get("users", [])}
            found |= {0} if allowed.get("parse") or allowed.get("roles") or allowed.get("replied_user") else set()
        return found


def block(code: str) -> str:
    return f"```python\n{code}\n```"


async def until(ready: Callable[[], T], seconds: float = 10.0) -> T:
    """What `ready` gives once that is something."""
    async with asyncio.timeout(seconds):
        while not (found := ready()):
            await asyncio.sleep(0.005)
        return found


def new_client(config: DiscordConfig) -> discord.Client:
    return make_client(config, Relay(), reads_messages=config.message_content == "auto")


@asynccontextmanager
async def simulated_discord(folder: Path, sandboxes: SandboxService, **settings: Any) -> AsyncIterator[Simulated]:
    """A bot in `folder` in a new simulated Discord; `settings` are of DiscordConfig.

    It lives in a task of its own: simcord ends where it began, and pytest ends a fixture elsewhere.
    """
    begun: asyncio.Future[Simulated] = asyncio.get_running_loop().create_future()
    over = asyncio.Event()

    async def live() -> None:
        async with _simulated(folder, sandboxes, DiscordConfig(token="a.b.c", **settings)) as here:
            begun.set_result(here)
            await over.wait()

    life = asyncio.ensure_future(live())
    await asyncio.wait({life, begun}, return_when=asyncio.FIRST_COMPLETED)
    try:
        if begun.done():
            yield begun.result()
    finally:
        over.set()
        await life


@asynccontextmanager
async def _simulated(folder: Path, sandboxes: SandboxService, config: DiscordConfig) -> AsyncIterator[Simulated]:
    client = new_client(config)
    async with running_parts(folder, sandboxes, turns_per_person=50) as parts, simcord.run(client) as env:
        guild = env.create_guild(id=int.from_bytes(os.urandom(7)) | 1)  # its sandboxes are no other test's
        manages = guild.create_role("Managers", permissions=MANAGES)
        ada, bob = (guild.add_member(env.create_user(name)) for name in ("Ada", "Bob"))
        root = guild.add_member(env.create_user("Root"), roles=[manages])
        here = Simulated(env, config, parts, guild, guild.create_text_channel("general"), ada, bob, root)
        await here.begin(client)
        try:
            yield here
        finally:
            await here.aclose()
