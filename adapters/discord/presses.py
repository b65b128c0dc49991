"""Buttons, selects and forms: told from the raw interaction by the name that we gave them, so also after a restart."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import discord
import structlog

from adapters.discord import components, inbound, outbound
from adapters.discord.adapter import DiscordPlatform
from adapters.discord.calls import Upload, as_files
from adapters.discord.config import DIRECT, MESSAGE_CHARS, DiscordConfig
from adapters.discord.inbound import Identity, Whereabouts
from adapters.discord.outbound import turn_of
from adapters.discord.places import Places
from adapters.discord.text import fenced
from bot.core import Core
from bot.errors import Refused
from bot.markdown import split
from bot.model import Attachment, Code, IncomingMessage, Person, Printed, Reply, ThreadKey, Turn
from bot.options import SCOPES, Scope
from bot.text import NOTHING_RUNS
from bot.with_input import with_input

log = structlog.get_logger()

Json = dict[str, Any]
Claim = Callable[[IncomingMessage, int], Awaitable[None]]

PIECES_MOST = 5  # of an answer to one person; what is longer is a file
GONE = "I no longer have that answer."
NOT_DIRECT = "I take no direct messages. Ask me in a server."


class Presses:
    """Who presses is answered alone: what they see nobody else does."""

    def __init__(
        self,
        core: Core,
        config: DiscordConfig,
        us: Identity,
        places: Places,
        platform: DiscordPlatform,
        claim: Claim,
    ) -> None:
        self._core = core
        self._config = config
        self._us = us
        self._places = places
        self._platform = platform
        self._claim = claim

    # ---- who and where

    def person(self, interaction: discord.Interaction) -> Person:
        """Who did it, with the rights that Discord says they have there."""
        manages = interaction.guild_id is not None and interaction.permissions.manage_guild
        return inbound.person(interaction.user, self._config.admins, manages=manages)

    @property
    def in_direct(self) -> bool:
        """Whether we serve people in direct messages."""
        return self._config.direct_messages

    async def is_served(self, interaction: discord.Interaction) -> bool:
        """Whether we serve people there; who asked is told if not."""
        if interaction.guild_id is not None or self.in_direct:
            return True
        if interaction.type is not discord.InteractionType.autocomplete:
            await self.tell(interaction, NOT_DIRECT)
        return False

    async def whereabouts(self, interaction: discord.Interaction) -> Whereabouts:
        """The channel or thread where it was done."""
        channel = interaction.channel or discord.Object(interaction.channel_id or 0)
        return await self._places.whereabouts(channel, interaction.guild_id)

    async def place(self, interaction: discord.Interaction) -> ThreadKey:
        """The thread, or the direct messages; in a channel there is none."""
        where = await self.whereabouts(interaction)
        if where.thread or where.workspace == DIRECT:
            return where.key(where.channel)
        return where.key()

    async def _turn(self, interaction: discord.Interaction, key: str) -> Turn:
        """What a button is about. Raises LookupError."""
        where = await self.whereabouts(interaction)
        message = outbound.message_of(key)
        history = self._core.history
        turn = await (history.turn(turn_of(key)) if message is None else history.turn_of(where.key(), message))
        if turn is None or turn.key.workspace != where.workspace:
            raise LookupError(key)
        return turn

    # ---- what was done

    async def interaction(self, interaction: discord.Interaction) -> None:
        """A press, a choice or a form; commands are the command tree's."""
        data: Any = interaction.data or {}
        ours = outbound.pressed(str(data.get("custom_id", "")))
        if ours is None or not await self.is_served(interaction):
            return
        try:
            if interaction.type is discord.InteractionType.component:
                await self._pressed(interaction, *ours)
            elif interaction.type is discord.InteractionType.modal_submit:
                await self._submitted(interaction, *ours, values_of(data))
        except Refused as error:
            await self.tell(interaction, error.for_people)
        except LookupError:
            await self.tell(interaction, GONE)
        except Exception:  # whatever it was, who pressed is not left with a wheel that turns
            log.exception("discord.press_failed")
            await self.tell(interaction, "Something went wrong on my side.")

    async def _pressed(self, interaction: discord.Interaction, action: str, key: str) -> None:
        if action == outbound.INPUT:
            await interaction.response.send_modal(components.input_form(key))
            return
        if action == outbound.OPTION:
            await self._choose(interaction, key)
            return
        await interaction.response.defer(ephemeral=True, thinking=True)
        words = await self._press(interaction, action, key)
        if words:
            await self.tell(interaction, words)

    async def _press(self, interaction: discord.Interaction, action: str, key: str) -> str:
        person, commands = self.person(interaction), self._core.commands
        match action:
            case outbound.STOP:
                try:
                    turn = await self._turn(interaction, key)
                except LookupError:
                    return NOTHING_RUNS
                return await commands.stop(turn.key, person, turn_id=turn.id)
            case outbound.RETRY | outbound.RERUN:
                await self._core.intake.retry(turn_of(key), person)
                return "Again, below."
            case outbound.RESET:
                return await commands.reset((await self._turn(interaction, key)).key, person)
            case outbound.DELETE:
                return await self._delete(await self._turn(interaction, key), person)
            case outbound.SHOW_CODE | outbound.SHOW_OUTPUT:
                return await self._show(interaction, action, key)
            case outbound.GOOD | outbound.BAD:
                return await commands.judge(turn_of(key), person, 1 if action == outbound.GOOD else -1)
            case _:
                return "I no longer know that button."

    async def _delete(self, turn: Turn, person: Person) -> str:
        await self._core.commands.check("delete", turn.key, person, turn.message.author.id)
        posted = await self._core.history.posted(turn.id)
        await self._platform.delete(turn.key, [one.message_id for one in posted if one.message_id])
        return "Deleted."

    async def _reply(self, key: str) -> Reply:
        reply = await self._core.history.reply(key)
        if reply is None:
            raise LookupError(key)
        return reply

    async def _show(self, interaction: discord.Interaction, action: str, key: str) -> str:
        reply = await self._reply(key)
        kind = Code if action == outbound.SHOW_CODE else Printed
        found = next((block for block in reply.blocks if isinstance(block, kind)), None)
        if found is None:
            return GONE
        text, language = (found.source, found.language) if isinstance(found, Code) else (found.text, "")
        pieces = split(fenced(text, language), MESSAGE_CHARS)
        if len(pieces) > PIECES_MOST:
            suffix = {"python": "py", "bash": "sh"}.get(language, "txt")
            name = f"code.{suffix}" if isinstance(found, Code) else "output.txt"
            files = as_files([Upload(name, text.encode("utf-8", "replace"))])
            await interaction.followup.send("All of it:", files=files, ephemeral=True)
            return ""
        for piece in pieces:
            await interaction.followup.send(piece, ephemeral=True)
        return ""

    # ---- forms

    async def _choose(self, interaction: discord.Interaction, key: str) -> None:
        """An option was chosen from the list: its form."""
        scope, _, thread = key.partition(":")
        data: Any = interaction.data or {}
        name = str((data.get("values") or [""])[0])
        place = await self._place_of_form(interaction, thread)
        fields = await self._core.commands.fields(place, self.person(interaction), as_scope(scope))
        field = next((field for field in fields if field.name == name), None)
        if field is None:
            raise Refused(f"You may not set {name} for the {scope}.")
        await interaction.response.send_modal(components.option_form(field, scope, thread))

    async def _place_of_form(self, interaction: discord.Interaction, thread: str) -> ThreadKey:
        where = await self.whereabouts(interaction)
        return where.key(thread)

    async def _submitted(self, interaction: discord.Interaction, action: str, key: str, values: dict[str, str]) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        if action == outbound.OPTION:
            scope, thread, name = (*key.split(":"), "", "")[:3]
            place = await self._place_of_form(interaction, thread)
            words = values.get(components.VALUE, "")
            person = self.person(interaction)
            mistakes = await self._core.commands.submit(place, person, as_scope(scope), {name: words})
            said = mistakes.get(name) or f"{name} is now {words or 'empty'} for the {scope}."
            await self.tell(interaction, said)
        elif action == outbound.INPUT:
            await self._run_with_input(interaction, key, values)

    async def _run_with_input(self, interaction: discord.Interaction, key: str, values: dict[str, str]) -> None:
        reply = await self._reply(key)
        code = next((block for block in reply.blocks if isinstance(block, Code)), None)
        if code is None:
            raise LookupError(key)
        text, arguments = values.get(components.TEXT, ""), values.get(components.ARGUMENTS, "")
        asked = with_input(code.language, code.source, text, arguments)
        words = f"▶ {interaction.user.mention} runs the code again with input."
        await self.ask(interaction, words, asked)
        await self.tell(interaction, "It runs, below.")

    # ---- requests that are no message

    async def ask(
        self,
        interaction: discord.Interaction,
        words: str,
        text: str,
        files: tuple[Attachment, ...] = (),
    ) -> None:
        """Say in the channel what somebody asks, and ask it in their name, after a `defer`. Raises Refused."""
        where, person = await self.whereabouts(interaction), self.person(interaction)
        if interaction.guild_id is not None:
            _may_write(interaction.permissions, where, "You may not write in this channel.")
            words_for_us = "I may not write in this channel. Somebody who manages it can let me."
            _may_write(interaction.app_permissions, where, words_for_us)
        wanted = inbound.request(person, where, interaction.id, text, self._core.clock(), files)
        await self._core.intake.check(wanted)  # before anything is said in their name
        channel = int(where.thread or where.channel)
        message = await self._platform.announce(channel, words, interaction.id)
        if where.thread:
            self._places.is_thread(where.key())
        try:
            await self._claim(inbound.request(person, where, message, text, wanted.sent_at, files), channel)
        except Refused:  # by what came in between
            await self._platform.take_back(channel, message)
            raise

    async def tell(self, interaction: discord.Interaction, words: str) -> None:
        """Answer who pressed, alone; in several pieces where it is long. Discord forgets an interaction in time."""
        pieces = split(words, MESSAGE_CHARS)[:PIECES_MOST] or ["…"]
        try:
            if not interaction.response.is_done():
                await interaction.response.send_message(pieces.pop(0), ephemeral=True)
            for piece in pieces:
                await interaction.followup.send(piece, ephemeral=True)
        except (discord.DiscordException, aiohttp.ClientError, OSError) as error:
            log.warning("discord.not_told", error=str(error))


def _may_write(allowed: discord.Permissions, where: Whereabouts, words: str) -> None:
    may = allowed.send_messages_in_threads if where.thread else allowed.send_messages
    if not (allowed.view_channel and may):
        raise Refused(words)


def as_scope(word: str) -> Scope:
    """A scope by its name. Raises Refused."""
    for scope in SCOPES:
        if scope == word:
            return scope
    raise Refused(f"I know {', '.join(SCOPES)}; not {word[:20]!r}.")


def values_of(data: Json) -> dict[str, str]:
    """What was written and chosen in a form, by the name of the field."""
    found: dict[str, str] = {}
    for row in data.get("components") or []:
        for field in [row.get("component") or {}, *(row.get("components") or [])]:
            if "custom_id" in field:
                chosen = field.get("values") or []
                found[str(field["custom_id"])] = str(chosen[0] if chosen else field.get("value") or "")
    return found
