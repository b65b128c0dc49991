"""Commands: /sandbox and /ask, and what is in the menu of a message."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Coroutine
from typing import Any

import discord
import structlog
from discord import app_commands

from adapters.discord import components, inbound
from adapters.discord.config import NAME
from adapters.discord.inbound import Identity
from adapters.discord.presses import Presses, as_scope
from bot.core import Core
from bot.errors import Refused
from bot.invocation import Invocation
from bot.options import Scope
from bot.store_ports import Memos

log = structlog.get_logger()

MEMO = "commands"
CHOICES_MOST = 25
QUOTED_CHARS = 1_500
SCOPE_CHOICES = [
    app_commands.Choice(name="this thread", value="thread"),
    app_commands.Choice(name="this channel", value="channel"),
    app_commands.Choice(name="the whole server", value="workspace"),
]
SIMPLE = {
    "help": "What I do and which commands there are",
    "status": "What runs here",
    "usage": "What your requests took",
    "reset": "Throw this thread's variables and files away",
    "stop": "End what runs here; what waits stays",
    "sandboxes": "Which threads of yours have a sandbox",
}


class Slash:
    """Builds the command tree of a client; the work is in the command core."""

    def __init__(self, core: Core, us: Identity, presses: Presses) -> None:
        self._core = core
        self._us = us
        self._presses = presses

    def tree(self, client: discord.Client) -> app_commands.CommandTree:
        """All commands, not yet told to Discord."""
        in_direct = self._presses.in_direct
        contexts = app_commands.AppCommandContext(guild=True, dm_channel=in_direct, private_channel=False)
        tree = Tree(client, allowed_contexts=contexts, allowed_installs=app_commands.AppInstallationType(guild=True))
        tree.presses = self._presses
        group = app_commands.Group(name="sandbox", description="The agent and the sandbox of a thread")
        for name, says in SIMPLE.items():
            group.add_command(app_commands.Command(name=name, description=says, callback=self._simple(name)))
        group.add_command(self._config())
        tree.add_command(group)
        tree.add_command(self._ask())
        tree.add_command(app_commands.ContextMenu(name="Run this code", callback=self._menu()))
        return tree

    def _simple(self, name: str) -> Callable[[discord.Interaction], Coroutine[Any, Any, None]]:
        async def callback(interaction: discord.Interaction) -> None:
            await interaction.response.defer(ephemeral=True, thinking=True)
            await self._run(interaction, name, "thread")

        return callback

    async def _run(self, interaction: discord.Interaction, words: str, scope: Scope) -> None:
        key = await self._presses.place(interaction)
        invocation = Invocation(key=key, person=self._presses.person(interaction), words=words, scope=scope)
        await self._presses.tell(interaction, await self._core.commands.run(invocation))

    def _config(self) -> app_commands.Group:
        group = app_commands.Group(name="config", description="The options of this thread, channel or server")

        @group.command(name="show", description="How the options stand here")
        async def show(interaction: discord.Interaction) -> None:
            await interaction.response.defer(ephemeral=True, thinking=True)
            await self._run(interaction, "config show", "thread")

        @group.command(name="set", description="Change an option")
        @app_commands.describe(name="Which option", value="What it shall be", scope="Where it shall hold")
        @app_commands.choices(scope=SCOPE_CHOICES)
        async def put(
            interaction: discord.Interaction,
            name: app_commands.Range[str, 1, 32],
            value: app_commands.Range[str, 1, 2000],
            scope: str = "",
        ) -> None:
            await interaction.response.defer(ephemeral=True, thinking=True)
            named = scope or await self._default_scope(interaction)
            await self._run(interaction, f"config set {named} {name} {value}", as_scope(named))

        @group.command(name="unset", description="Have an option be what it is elsewhere")
        @app_commands.describe(name="Which option", scope="Where it was set")
        @app_commands.choices(scope=SCOPE_CHOICES)
        async def unset(
            interaction: discord.Interaction, name: app_commands.Range[str, 1, 32], scope: str = ""
        ) -> None:
            await interaction.response.defer(ephemeral=True, thinking=True)
            named = scope or await self._default_scope(interaction)
            await self._run(interaction, f"config unset {named} {name}", as_scope(named))

        @group.command(name="form", description="Choose an option from a list and change it")
        @app_commands.describe(scope="Where it shall hold")
        @app_commands.choices(scope=SCOPE_CHOICES)
        async def form(interaction: discord.Interaction, scope: str = "") -> None:
            await interaction.response.defer(ephemeral=True, thinking=True)
            await self._form(interaction, as_scope(scope or await self._default_scope(interaction)))

        # discord.py takes a method for one of a command's own class
        async def names(interaction: discord.Interaction, begun: str) -> list[app_commands.Choice[str]]:
            return await self._names(interaction, begun)

        async def values(interaction: discord.Interaction, begun: str) -> list[app_commands.Choice[str]]:
            return await self._values(interaction, begun)

        put.autocomplete("name")(names)
        put.autocomplete("value")(values)
        unset.autocomplete("name")(names)
        return group

    async def _default_scope(self, interaction: discord.Interaction) -> str:
        return "thread" if (await self._presses.place(interaction)).thread else "channel"

    async def _form(self, interaction: discord.Interaction, scope: Scope) -> None:
        key, person = await self._presses.place(interaction), self._presses.person(interaction)
        if scope == "thread" and not key.thread:
            raise Refused("There is no thread here. Use this in one, or choose another scope.")
        fields = await self._core.commands.fields(key, person, scope)
        if not fields:
            raise Refused(f"Only an admin may set options for the {scope}. `/sandbox config show` says how they stand.")
        view = components.options_view(fields, scope, key.thread)
        await interaction.followup.send(f"Options for the {scope}:", view=view, ephemeral=True)

    async def _names(self, interaction: discord.Interaction, begun: str) -> list[app_commands.Choice[str]]:
        fields = await self._core.commands.all_fields(await self._presses.place(interaction))
        found = [field for field in fields if begun.lower() in field.name]
        return [
            app_commands.Choice(name=f"{field.name}: {field.says}"[:100], value=field.name)
            for field in found[:CHOICES_MOST]
        ]

    async def _values(self, interaction: discord.Interaction, begun: str) -> list[app_commands.Choice[str]]:
        fields = await self._core.commands.all_fields(await self._presses.place(interaction))
        field = next((field for field in fields if field.name == interaction.namespace.name), None)
        if field is None:
            return []
        words = [word for word in field.choices or (field.value,) if word and len(word) <= 100]
        words = [word for word in words if begun.lower() in word.lower()]
        return [app_commands.Choice(name=word, value=word) for word in words[:CHOICES_MOST]]

    def _ask(self) -> app_commands.Command[app_commands.Group, ..., None]:
        @app_commands.command(name="ask", description="Ask me, or give me code to run")
        @app_commands.describe(text="What to do", file="A file to work with")
        async def ask(
            interaction: discord.Interaction,
            text: app_commands.Range[str, 1, 6000],
            file: discord.Attachment | None = None,
        ) -> None:
            await interaction.response.defer(ephemeral=True, thinking=True)
            quoted = "\n".join(f"> {line}" for line in text[:QUOTED_CHARS].splitlines())
            words = f"{interaction.user.mention} asks:\n{quoted}"
            files = tuple(inbound.as_attachments([file] if file is not None else []))
            await self._presses.ask(interaction, words, text, files)
            await self._presses.tell(interaction, "I am at it.")

        return ask

    def _menu(self) -> Callable[[discord.Interaction, discord.Message], Coroutine[Any, Any, None]]:
        async def callback(interaction: discord.Interaction, message: discord.Message) -> None:
            await interaction.response.defer(ephemeral=True, thinking=True)
            text = inbound.run_request(message, self._us)
            if not message.content.strip() and not message.attachments:
                raise Refused("There is no code in that message.")
            words = f"▶ {interaction.user.mention} runs [this code]({message.jump_url})."
            await self._presses.ask(interaction, words, text, tuple(inbound.attachments(message)))
            await self._presses.tell(interaction, "It runs.")

        return callback

    async def tell_discord(self, tree: app_commands.CommandTree, memos: Memos) -> None:
        """Have Discord know the commands, if they are not what it knows already: it takes 200 changes a day."""
        payload = [command.to_dict(tree) for command in tree.get_commands()]
        payload += [menu.to_dict(tree) for menu in tree.get_commands(type=discord.AppCommandType.message)]
        text = json.dumps([self._us.application_id, payload], sort_keys=True, default=str)
        digest = hashlib.sha256(text.encode()).hexdigest()
        if await memos.get(NAME, MEMO) == digest:
            return
        try:
            await tree.sync()
        except (discord.DiscordException, OSError) as error:  # the old ones stay, and mentions need none
            log.warning("discord.commands_not_told", error=str(error))
            return
        await memos.put(NAME, MEMO, digest)


class Tree(app_commands.CommandTree):
    """A tree whose refusals are told to who asked."""

    presses: Presses

    async def interaction_check(self, interaction: discord.Interaction, /) -> bool:
        """Discord may still show commands that it was told earlier."""
        return await self.presses.is_served(interaction)

    async def on_error(self, interaction: discord.Interaction, error: app_commands.AppCommandError) -> None:
        """What a command raised."""
        cause = error.__cause__ or error
        if isinstance(cause, Refused):
            await self.presses.tell(interaction, cause.for_people)
            return
        log.error("discord.command_failed", exc_info=cause)
        await self.presses.tell(interaction, "Something went wrong on my side.")
