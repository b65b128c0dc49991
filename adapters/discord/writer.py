"""A reply on its way: its messages posted or edited, with the files that Discord takes."""

from __future__ import annotations

from dataclasses import dataclass

import discord

from adapters.discord.calls import ARCHIVED, MAY_NOT, TOO_LARGE, Calls, DiscordRefused, Upload
from adapters.discord.components import as_view
from adapters.discord.config import MESSAGE_CHARS
from adapters.discord.files import Files
from adapters.discord.inbound import Identity
from adapters.discord.outbound import Part, Post, nonce
from adapters.discord.places import Place, Places
from bot.budget import Priority
from bot.model import IncomingMessage, Reply
from bot.store_ports import Artifacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A reply, where it goes, and whom it answers."""

    reply: Reply
    post: Post
    place: Place
    asked: IncomingMessage | None
    file_limit: int


class Writer:
    """Every call raises DiscordRefused, ConnectionError."""

    def __init__(self, calls: Calls, places: Places, artifacts: Artifacts, us: Identity) -> None:
        self._calls = calls
        self._places = places
        self._files = Files(artifacts)
        self._us = us

    async def post(self, letter: Letter) -> int:
        """The first message of a reply, with its buttons; its id."""
        return await self._send(letter, letter.post.parts[0], letter.reply.key, is_first=True)

    async def more(self, letter: Letter, ids: list[int]) -> list[int]:
        """The other messages of a long reply, but those that `ids` name; what a try before us posted is taken."""
        parts = letter.post.parts[len(ids) :]
        if not parts:
            return []
        most = 4 * len(letter.post.parts)
        later = await self._calls.history(letter.place.channel, most, after=ids[0], oldest_first=True)
        there = [message for message in later if message.author.id == self._us.user_id]
        found: list[int] = []
        for number, part in enumerate(parts, start=len(ids)):
            old = next((message.id for message in there if _is_part(message, part)), None)
            found.append(old or await self._send(letter, part, f"{letter.reply.key}/{number}"))
        return found

    async def _send(self, letter: Letter, part: Part, name: str, *, is_first: bool = False) -> int:
        uploads, notes = await self._files.of(part, letter.file_limit)
        try:
            return await self._send_with(letter, part, name, uploads, notes, is_first=is_first)
        except DiscordRefused as error:
            if not uploads or error.status not in (TOO_LARGE, MAY_NOT):
                raise
            self._calls.allowed_again(letter.place.channel)  # it may be files alone that we may not post
            return await self._send_with(letter, part, name, [], self._files.named(part), is_first=is_first)

    async def _send_with(
        self, letter: Letter, part: Part, name: str, uploads: list[Upload], notes: list[str], *, is_first: bool
    ) -> int:
        asked, post = letter.asked, letter.post
        ping = int(asked.author.id) if is_first and post.awaits and asked is not None else None
        content = part.content if ping is None else f"<@{ping}> {part.content}"
        return await self._calls.send(
            letter.place.channel,
            _with_notes(content, notes),
            nonce=nonce(name),
            priority=Priority.FINAL,
            files=uploads,
            view=as_view(post.buttons) if is_first else None,
            answers=None if letter.place.in_thread or asked is None else int(asked.message_id),
            ping=ping,
        )

    async def edit(self, letter: Letter, message: int) -> None:
        """Have the first message of a reply be what it is now; files come with the final one."""
        part, place, is_final = letter.post.parts[0], letter.place, letter.reply.final
        uploads, notes = await self._files.of(part, letter.file_limit) if is_final else ([], [])
        view, priority = as_view(letter.post.buttons), Priority.FINAL if is_final else Priority.PROGRESS
        for _ in range(3):  # each refusal is mended at most once
            content = _with_notes(part.content, notes)
            try:
                await self._calls.edit(
                    place.channel, message, content, priority=priority, files=uploads or None, view=view
                )
            except DiscordRefused as error:
                if error.reason == ARCHIVED:
                    await self._places.open_again(place.channel)
                elif error.status in (TOO_LARGE, MAY_NOT) and uploads:
                    self._calls.allowed_again(place.channel)
                    uploads, notes = [], self._files.named(part)
                else:
                    raise
            else:
                return


def _with_notes(content: str, notes: list[str]) -> str:
    """A message and why a file is not with it; what is too much is cut off the notes."""
    lines = [content] if content else []
    for note in notes:
        if sum(len(line) + 1 for line in [*lines, note]) <= MESSAGE_CHARS:
            lines.append(note)
    return "\n".join(lines)


def _is_part(message: discord.Message, part: Part) -> bool:
    """Whether an earlier try posted this part of a reply."""
    if part.content:
        return message.content.startswith(part.content)
    return not message.content and len(message.attachments) == len(part.artifacts)
