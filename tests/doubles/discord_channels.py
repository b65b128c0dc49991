"""The REST methods below /channels: messages, reactions, threads, with Discord's permissions and refusals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.doubles.discord_guild import BOT, PUBLIC_THREAD, ApiError, Guild
from tests.doubles.discord_messages import HAS_THREAD, LOADING, STARTER, Files, Messages, without_content

Json = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """One request."""

    method: str
    template: str
    ids: Mapping[str, str]
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    files: Files = field(default_factory=dict)

    @property
    def channel_id(self) -> str:
        return self.ids.get("channel_id", "")


class Channels:
    """Each method is a route: a Call in, an answer or None (204) out. Raises ApiError."""

    def __init__(self, guild: Guild, messages: Messages) -> None:
        self.guild = guild
        self.messages = messages
        self.typing: list[str] = []
        """The channels that the bot typed in."""

    def get(self, call: Call) -> Json:
        channel = self._channel(call)
        self.guild.need("view_channel", channel)
        return channel

    def edit(self, call: Call) -> Json:
        """A thread's name, archived, locked."""
        channel = self._channel(call)
        if channel["type"] != PUBLIC_THREAD:
            self.guild.need("manage_channels", channel)
        if channel.get("owner_id") != BOT or "locked" in call.body:
            self.guild.need("manage_threads", channel)
        self.guild.need("view_channel", channel)
        channel["name"] = call.body.get("name", channel["name"])
        changed = {key: call.body[key] for key in ("archived", "locked", "auto_archive_duration") if key in call.body}
        self.guild.set_thread(channel["id"], **changed)
        return channel

    def type(self, call: Call) -> None:
        self._may_send(self._channel(call))
        self.typing.append(call.channel_id)

    def _channel(self, call: Call) -> Json:
        return self.guild.channel(call.channel_id)

    # ---- messages

    def post(self, call: Call) -> Json:
        channel, body = self._channel(call), call.body
        self._may_send(channel)
        if call.files:
            self.guild.need("attach_files", channel)
        if body.get("message_reference") and not self.guild.may("read_message_history", channel):
            raise ApiError(160002)
        nonce = body.get("nonce")
        if nonce is not None and body.get("enforce_nonce"):
            known = self.messages.anywhere(self.messages.nonces.get((channel["id"], str(nonce)), ""))
            if known is not None:
                return {**self.messages.render(known), "nonce": nonce}
        message = self.messages.new(channel["id"], BOT, body, call.files)
        self.messages.add(message, nonce=nonce)
        if nonce is not None:
            self.messages.nonces[channel["id"], str(nonce)] = message["id"]
        return self.messages.render(message) | ({} if nonce is None else {"nonce": nonce})

    def _may_send(self, channel: Json) -> None:
        in_thread = channel["type"] == PUBLIC_THREAD
        self.guild.need("send_messages_in_threads" if in_thread else "send_messages", channel)
        if in_thread and channel["thread_metadata"]["locked"] and not self.guild.may("manage_threads", channel):
            raise ApiError(160005)

    def change(self, call: Call) -> Json:
        channel, message = self._channel(call), self._found(call)
        self.guild.need("view_channel", channel)
        if message["author"]["id"] != BOT:
            raise ApiError(50005)
        self._awake(channel)
        if call.files:
            self.guild.need("attach_files", channel)
        self.messages.fill(message, call.body, call.files)
        self.messages.edited(message)
        return self.messages.render(message)

    def delete(self, call: Call) -> None:
        channel, message = self._channel(call), self._found(call)
        self.guild.need("view_channel", channel)
        if message["author"]["id"] != BOT:
            self.guild.need("manage_messages", channel)
        self._awake(channel)
        self.messages.remove(message)

    def _awake(self, channel: Json) -> None:
        if channel["type"] == PUBLIC_THREAD and channel["thread_metadata"]["archived"]:
            raise ApiError(50083)

    def _found(self, call: Call) -> Json:
        return self.messages.find(call.channel_id, call.ids["message_id"])

    def one(self, call: Call) -> Json:
        self.guild.need("read_message_history", self._channel(call))
        return self._readable(self.messages.render(self._found(call)))

    def page(self, call: Call) -> list[Json]:
        """Newest first; nothing where the bot may not read history."""
        channel = self._channel(call)
        self.guild.need("view_channel", channel)
        if not self.guild.may("read_message_history", channel):
            return []
        found = _chosen(self.messages.by_channel[channel["id"]], call.query)
        return [self._readable(self.messages.render(message)) for message in found]

    def _readable(self, message: Json) -> Json:
        if self.messages.content_allowed or self.guild.channel(message["channel_id"])["type"] == 1:
            return message
        return without_content(message)

    # ---- reactions

    def react(self, call: Call) -> None:
        channel, message = self._channel(call), self._found(call)
        self.guild.need("read_message_history", channel)
        self.guild.need("add_reactions", channel)
        self._awake(channel)
        self.messages.react(message, call.ids["emoji_name"], BOT)

    def unreact(self, call: Call) -> None:
        message, user_id = self._found(call), call.ids.get("user_id", BOT)
        if user_id != BOT:
            self.guild.need("manage_messages", self._channel(call))
        self._awake(self._channel(call))
        self.messages.unreact(message, call.ids["emoji_name"], user_id)

    def who_reacted(self, call: Call) -> list[Json]:
        given = self.messages.reactions[self._found(call)["id"]]
        return [self.guild.users[user_id] for emoji, user_id in given if emoji == call.ids["emoji_name"]]

    # ---- threads

    def start_thread(self, call: Call) -> Json:
        channel, message = self._channel(call), self._found(call)
        if channel["type"] != 0:
            raise ApiError(50024)
        self.guild.need("read_message_history", channel)
        self.guild.need("create_public_threads", channel)
        return self.open_thread(message, call.body["name"], BOT, call.body.get("auto_archive_duration") or 1440)

    def open_thread(self, message: Json, name: str, owner: str, minutes: int = 1440, *, tell: bool = True) -> Json:
        """A thread under a message, with its id. The message changes too, which its author did not do."""
        if message["id"] in self.guild.channels or message["flags"] & HAS_THREAD:
            raise ApiError(160004)
        if len(self.guild.active_threads()) >= self.guild.thread_limit:
            raise ApiError(160006)
        parent = self.guild.channel(message["channel_id"])
        thread = self.guild.new_thread(message["id"], parent, name, owner, minutes)
        message["flags"] |= HAS_THREAD
        starter = self.messages.new(thread["id"], owner, {}, {}, type=STARTER, flags=LOADING)
        starter["message_reference"] = {"type": 0, "message_id": message["id"], "channel_id": parent["id"],
                                        "guild_id": thread["guild_id"]}  # fmt: skip
        starter["flags"] = 0
        if tell:
            member = {"id": thread["id"], "user_id": BOT, "join_timestamp": message["timestamp"], "flags": 1}
            own = {"member": member} if owner == BOT else {}
            self.guild.tell("THREAD_CREATE", {**thread, "newly_created": True, **own})
            self.messages.edited(message, stamp=False)
        self.messages.add(starter, tell=tell)
        return thread

    def join_thread(self, call: Call) -> None:
        self.guild.need("view_channel", self._channel(call))
        self._awake(self._channel(call))


def _chosen(messages: list[Json], query: Mapping[str, str]) -> list[Json]:
    limit = int(query.get("limit", 50))
    if not 1 <= limit <= 100:
        raise ApiError(50035, detail="limit: int value should be between 1 and 100.")
    if "after" in query:
        found = [message for message in messages if int(message["id"]) > int(query["after"])][:limit]
    elif "around" in query:
        middle, half = int(query["around"]), limit // 2
        older = [message for message in messages if int(message["id"]) < middle][-half:]
        found = older + [message for message in messages if int(message["id"]) >= middle][: limit - len(older)]
    else:
        before = int(query.get("before", 1 << 63))
        found = [message for message in messages if int(message["id"]) < before][-limit:]
    return found[::-1]
