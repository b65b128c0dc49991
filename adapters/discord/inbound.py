"""What Discord delivers, as messages and places; pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

import discord

from adapters.discord.config import DIRECT, NAME
from adapters.discord.text import said
from bot.markdown import fenced
from bot.model import Attachment, IncomingMessage, Person, Quoted, ThreadKey
from bot.text import code_blocks

_SPOKEN = (discord.MessageType.default, discord.MessageType.reply)
_DISCORD_EPOCH_MS = 1_420_070_400_000  # https://docs.discord.com/developers/reference#snowflakes
_STARTS_WITH_MENTION = re.compile(r"\s*<@[!&]?\d")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who we are."""

    user_id: int
    application_id: int
    name: str = ""
    reads_messages: bool = True
    """Whether Discord gives us the text of messages that do not mention us."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Whereabouts:
    """Where a message is: its channel, and the thread in it, if it is in one."""

    workspace: str
    channel: str
    thread: str = ""

    def key(self, thread: str = "") -> ThreadKey:
        """The place as we name it; `thread` where it is in none."""
        return ThreadKey(platform=NAME, workspace=self.workspace, channel=self.channel, thread=self.thread or thread)


def moment(snowflake: int | str) -> datetime:
    """When something of Discord's was made: its id is its time. Raises ValueError."""
    return datetime.fromtimestamp(((int(snowflake) >> 22) + _DISCORD_EPOCH_MS) / 1000, UTC)


def snowflake(at: datetime) -> int:
    """The least id of what was made at that moment."""
    return (round(at.timestamp() * 1000) - _DISCORD_EPOCH_MS) << 22


def is_spoken(message: discord.Message, us: Identity) -> bool:
    """Whether a person wrote this message."""
    by_bot = message.author.bot or message.webhook_id is not None or message.author.id == us.user_id
    return not by_bot and message.type in _SPOKEN


def may_answer(message: discord.Message) -> bool:
    """Whether we may write where a message is, as far as discord.py knows the channel."""
    channel, guild = message.channel, message.guild
    if guild is None or not isinstance(channel, discord.Thread | discord.abc.GuildChannel):
        return True
    allowed = channel.permissions_for(guild.me)
    in_thread = allowed.send_messages_in_threads
    if isinstance(channel, discord.Thread):
        return in_thread
    return allowed.send_messages or (in_thread and allowed.create_public_threads)


def mentions_us(message: discord.Message, us: Identity) -> bool:
    """Whether a message calls us: by name, by the role that is ours alone, or by answering us with a ping."""
    return any(user.id == us.user_id for user in message.mentions) or bool(_our_roles(message, us))


def _our_roles(message: discord.Message, us: Identity) -> set[str]:
    roles = message.role_mentions
    return {str(role.id) for role in roles if role.tags is not None and role.tags.bot_id == us.user_id}


def answered(message: discord.Message) -> discord.Message | None:
    """The message that this one answers, where Discord sent it along."""
    reference = message.reference
    found = reference.resolved if reference is not None and message.type == discord.MessageType.reply else None
    return found if isinstance(found, discord.Message) else None


def text_of(message: discord.Message, us: Identity) -> str:
    """What was written, with what was forwarded."""
    names = {str(user.id): user.display_name for user in message.mentions}
    names |= {str(role.id): role.name for role in message.role_mentions}
    if message.guild is not None:
        names |= {str(channel.id): channel.name for channel in message.channel_mentions}
    ours = frozenset({str(us.user_id), *_our_roles(message, us)})
    forwarded = [said(snapshot.content, frozenset(), {}) for snapshot in message.message_snapshots]
    return "\n".join(part for part in (said(message.content, ours, names), *forwarded) if part)


def incoming(
    message: discord.Message, us: Identity, author: Person, where: Whereabouts, root: str = ""
) -> IncomingMessage:
    """A message that `is_spoken`; `root` is the first message of its conversation where there is no thread."""
    direct = where.workspace == DIRECT
    before = answered(message)
    answers_us = before is not None and before.author.id == us.user_id
    for_us = direct or answers_us or mentions_us(message, us)
    to_others = before is not None or _STARTS_WITH_MENTION.match(message.content) is not None
    return IncomingMessage(
        key=where.key(where.channel if direct else root or str(message.id)),
        message_id=str(message.id),
        author=author,
        text=text_of(message, us),
        sent_at=message.created_at,
        for_us=for_us,
        attachments=tuple(attachments(message)),
        for_others=to_others and not for_us,
        in_thread=not direct and where.thread != str(message.id),
    )


def attachments(message: discord.Message) -> list[Attachment]:
    """The files of a message."""
    files = [*message.attachments, *(file for one in message.message_snapshots for file in one.attachments)]
    return as_attachments(files)


def as_attachments(files: list[discord.Attachment]) -> list[Attachment]:
    """Files as the bot names them."""
    return [Attachment(name=file.filename, size=file.size, source=file.url) for file in files]


def quoted(message: discord.Message, us: Identity) -> Quoted:
    """A message of a channel as context."""
    ours = message.author.id == us.user_id
    files = () if ours else tuple(attachments(message))  # what we made is in the sandbox, or is gone with it
    name = "Threadbox" if ours else message.author.display_name
    return Quoted(speaker=name, text=text_of(message, us), attachments=files)


def person(user: discord.abc.User, admins: frozenset[str], *, manages: bool | None = None) -> Person:
    """Who speaks. `manages`: whether they may manage the server, where Discord said so beside."""
    member = user if isinstance(user, discord.Member) else None
    if manages is None:
        manages = member is not None and member.guild_permissions.manage_guild
    return Person(
        id=str(user.id),
        name=" ".join(user.display_name.split())[:80] or str(user.id),
        standing="bot" if user.bot else "member",
        is_admin=not user.bot and (manages or str(user.id) in admins),
        groups=tuple(str(role.id) for role in member.roles) if member is not None else (),
    )


def request(
    person: Person, where: Whereabouts, message_id: int, text: str, now: datetime, files: tuple[Attachment, ...] = ()
) -> IncomingMessage:
    """What somebody asked by a command; `message_id` is the message of ours that says so in the channel."""
    thread = where.channel if where.workspace == DIRECT else str(message_id)
    return IncomingMessage(
        key=where.key(thread),
        message_id=str(message_id),
        author=person,
        text=text,
        sent_at=now,
        for_us=True,
        attachments=files,
        in_thread=where.workspace != DIRECT,
    )


def run_request(message: discord.Message, us: Identity) -> str:
    """The request to run somebody's message: its code blocks, or all of it."""
    text = text_of(message, us)
    return f"Run this code as it is:\n{text if code_blocks(text) or not text.strip() else fenced(text, 'python')}"
