"""What people do in the loopback Discord: say, edit, delete, react; and what a channel shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.doubles.discord_guild import BOT, DM, FORUM, GUILD, PUBLIC_THREAD
from tests.doubles.discord_hands import Hands
from tests.doubles.discord_messages import DEFAULT, REPLY, words
from tests.doubles.discord_server import DiscordServer

Json = dict[str, Any]

MENTION = f"<@{BOT}>"
ENDS = {"✅", "❌", "🛑"}


class People(Hands):
    """Ada, Bob and the others. A channel is a name, an id, or "dm": the person's own with the bot."""

    def __init__(self, server: DiscordServer) -> None:
        super().__init__(server)

    # ---- messages

    async def say(
        self,
        text: str,
        channel: str = "general",
        user: str = "ada",
        *,
        thread: str | None = None,
        reply_to: str | Json | None = None,
        ping: bool = True,
        files: Sequence[tuple[str, bytes]] = (),
        wait: bool = True,
    ) -> str:
        """A message, stored and told; `wait` for somebody to be listening. Its id."""
        if wait:
            await self.server.until(self.server.gateway.listening)
        return self._put(text, channel, user, thread, reply_to, ping, files, tell=True)

    def store(
        self,
        text: str,
        channel: str = "general",
        user: str = "ada",
        *,
        thread: str | None = None,
        reply_to: str | Json | None = None,
        ping: bool = True,
        files: Sequence[tuple[str, bytes]] = (),
    ) -> str:
        """A message that the gateway never tells of."""
        return self._put(text, channel, user, thread, reply_to, ping, files, tell=False)

    def _put(
        self, text: str, channel: str, user: str, thread: str | None, reply_to: str | Json | None, ping: bool,
        files: Sequence[tuple[str, bytes]], *, tell: bool,
    ) -> str:  # fmt: skip
        author = self.guild.user_id(user)
        place = self.place(thread or channel, user)
        if place["type"] == PUBLIC_THREAD and place["thread_metadata"]["locked"]:
            raise PermissionError("the thread is locked")
        body: Json = {"content": text}
        if reply_to is not None:
            target = reply_to if isinstance(reply_to, str) else reply_to["id"]
            allowed = {"parse": ["users"], "replied_user": ping}
            body |= {"message_reference": {"message_id": target}, "allowed_mentions": allowed}
        message = self.kept.new(place["id"], author, body, dict(enumerate(files)))
        self.kept.add(message, tell=tell)
        return str(message["id"])

    async def edit(self, message_id: str, text: str) -> None:
        """A message changed by its author."""
        message = self.message(message_id)
        self.kept.fill(message, {"content": text}, {})
        self.kept.edited(message)

    async def unfurl(self, message_id: str) -> None:
        """Discord adds the preview of a link: an update that changed nothing that its author wrote."""
        message = self.message(message_id)
        message["embeds"] = [{"type": "link", "title": "Example", "url": "https://example.com"}]
        self.kept.edited(message, stamp=False)

    async def delete(self, message_id: str) -> None:
        self.kept.remove(self.message(message_id))

    async def react(self, message_id: str, emoji: str, user: str = "ada") -> None:
        self.kept.react(self.message(message_id), emoji, self.guild.user_id(user))

    # ---- channels and threads

    def start_thread(self, message_id: str, name: str, user: str = "ada", *, tell: bool = True) -> str:
        """A thread that a person opens under a message; not `tell`: the bot has it in no cache. Its id."""
        message = self.message(message_id)
        thread = self.api.channels.open_thread(message, name, self.guild.user_id(user), tell=tell)
        return str(thread["id"])

    def forum_post(self, title: str, text: str, user: str = "ada") -> str:
        """A thread in the forum; its first message has its id."""
        author = self.guild.user_id(user)
        thread = self.guild.new_thread(self.guild.new_id(), self.guild.channels[FORUM], title, author)
        self.server.gateway.dispatch("THREAD_CREATE", {**thread, "newly_created": True})
        message = self.kept.new(thread["id"], author, {"content": text}, {}, id=thread["id"])
        self.kept.add(message)
        return str(thread["id"])

    def archive_thread(self, thread_id: str, *, locked: bool = False) -> None:
        self.guild.set_thread(thread_id, archived=True, locked=locked)

    def lock_thread(self, thread_id: str) -> None:
        self.guild.set_thread(thread_id, locked=True)

    def delete_thread(self, thread_id: str) -> None:
        thread = self.guild.channels.pop(thread_id)
        told = {key: thread[key] for key in ("id", "guild_id", "parent_id", "type")}
        self.kept.by_channel.pop(thread_id, None)
        self.server.gateway.dispatch("THREAD_DELETE", told)

    def delete_channel(self, channel: str) -> None:
        """A channel goes, and its threads with it, of which Discord says nothing more."""
        gone = self.guild.channel(channel)
        for thread in [c for c in self.guild.channels.values() if c.get("parent_id") == gone["id"]]:
            del self.guild.channels[thread["id"]]
        del self.guild.channels[gone["id"]]
        self.server.gateway.dispatch("CHANNEL_DELETE", gone)

    def remove_bot(self) -> None:
        """The bot is thrown out of the guild."""
        self.guild.left = True
        self.server.gateway.dispatch("GUILD_DELETE", {"id": GUILD})

    def add_bot(self) -> None:
        """The bot is invited again."""
        self.guild.left = False
        self.server.gateway.dispatch("GUILD_CREATE", {**self.guild.full()})

    # ---- what is seen

    def messages(self, channel: str, user: str = "ada") -> list[Json]:
        """All that is in a channel or thread, oldest first, as Discord shows it."""
        found = self.kept.by_channel[self.place(channel, user)["id"]]
        return [self.kept.render(message) for message in found]

    def said(self, channel: str, user: str = "ada") -> list[Json]:
        """What the bot said there, oldest first."""
        mine = self.messages(channel, user)
        return [m for m in mine if m["author"]["id"] == BOT and m["type"] in (DEFAULT, REPLY, 20, 23)]

    def shown(self, channel: str, user: str = "ada") -> str:
        """What the bot said there, as a person reads it."""
        return "\n".join(words(message) for message in self.said(channel, user))

    async def sees(self, channel: str, text: str, timeout: float = 60, user: str = "ada") -> None:
        """Return once a channel or thread shows `text`."""
        try:
            await self.server.until(lambda: self._there(channel, user) and text in self.shown(channel, user), timeout)
        except TimeoutError:
            shown = self.shown(channel, user) if self._there(channel, user) else "there is no such channel"
            raise AssertionError(f"{text!r} never came: {shown}") from None

    def _there(self, channel: str, user: str) -> bool:
        """A thread may only be on its way."""
        return not channel.isdigit() or channel in self.guild.channels or channel == self.guild.dm_id(user)

    def reactions(self, message_id: str, by: str = BOT) -> set[str]:
        return {emoji for emoji, user_id in self.kept.reactions[message_id] if user_id == by}

    async def ended(self, message_id: str, timeout: float = 60) -> str:
        """The sign that the bot ends a message with."""
        try:
            found = await self.server.until(lambda: ENDS & self.reactions(message_id), timeout)
        except TimeoutError:
            raise AssertionError(f"it never ended: {self.reactions(message_id)}") from None
        return str(min(found))


__all__ = ["DM", "MENTION", "People"]
