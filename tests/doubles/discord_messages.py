"""The messages of the loopback Discord: how they are kept, and how Discord shows and announces them."""

from __future__ import annotations

import copy
import mimetypes
import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from tests.doubles.discord_guild import BOT, DM, GUILD, PUBLIC_THREAD, WEBHOOK, ApiError, Guild, now_iso
from tests.doubles.discord_limits import COMPONENTS_V2, FILE_BYTES, walk

Json = dict[str, Any]
Files = dict[int, tuple[str, bytes]]

DEFAULT, REPLY, STARTER = 0, 19, 21
HAS_THREAD, EPHEMERAL, LOADING = 1 << 5, 1 << 6, 1 << 7
_MENTION = re.compile(r"<@!?(\d+)>")


class Messages:
    """By channel, oldest first. Hidden ones are seen by one person only."""

    def __init__(self, guild: Guild) -> None:
        self.guild = guild
        self.url = ""
        self.file_bytes = FILE_BYTES
        self.content_allowed = True
        """Whether the application may read what does not mention it."""
        self.by_channel: dict[str, list[Json]] = defaultdict(list)
        self.hidden: dict[str, Json] = {}
        self.reactions: dict[str, list[tuple[str, str]]] = defaultdict(list)
        self.bytes: dict[str, bytes] = {}
        self.nonces: dict[tuple[str, str], str] = {}

    # ---- finding

    def find(self, channel_id: str, message_id: str) -> Json:
        """Raises ApiError."""
        for message in self.by_channel[channel_id]:
            if message["id"] == message_id:
                return message
        raise ApiError(10008)

    def anywhere(self, message_id: str) -> Json | None:
        if message_id in self.hidden:
            return self.hidden[message_id]
        every = (message for messages in self.by_channel.values() for message in messages)
        return next((message for message in every if message["id"] == message_id), None)

    # ---- a new one

    def new(self, channel_id: str, author: str, body: Json, files: Files, **more: Any) -> Json:
        """A message that is not anywhere yet. Raises ApiError."""
        message = {
            "id": self.guild.new_id(), "channel_id": channel_id, "author": self.guild.users[author], "type": DEFAULT,
            "content": "", "timestamp": now_iso(), "edited_timestamp": None, "tts": False, "mention_everyone": False,
            "mentions": [], "mention_roles": [], "attachments": [], "embeds": [], "components": [], "pinned": False,
            "flags": (body.get("flags") or 0) & (EPHEMERAL | COMPONENTS_V2 | 1 << 2 | 1 << 12), **more,
        }  # fmt: skip
        if author == WEBHOOK:
            message["webhook_id"] = WEBHOOK
        self._refer(message, body.get("message_reference"))
        self.fill(message, body, files)
        return message

    def _refer(self, message: Json, reference: Json | None) -> None:
        if not reference:
            return
        target = str(reference["message_id"])
        place = str(reference.get("channel_id") or message["channel_id"])
        if not any(other["id"] == target for other in self.by_channel[place]):
            if reference.get("fail_if_not_exists", True):
                raise ApiError(50035, detail="message_reference: Unknown message")
            return
        message |= {"type": REPLY, "message_reference": {"type": 0, "message_id": target, "channel_id": place}}
        if self.guild.channel(place)["type"] != DM:
            message["message_reference"]["guild_id"] = GUILD

    def fill(self, message: Json, body: Json, files: Files) -> None:
        """What a create or an edit says. Raises ApiError for what Discord refuses, and then nothing has changed."""
        draft = dict(message)
        if "content" in body:
            draft["content"] = (body["content"] or "").strip()  # as Discord does
        for part in ("embeds", "components"):
            if part in body:
                draft[part] = copy.deepcopy(body[part] or [])
        if body.get("flags"):
            draft["flags"] |= body["flags"] & COMPONENTS_V2
        draft["attachments"] = self._kept(message, body, files) + self._uploaded(message, body, files)
        self._acceptable(draft, files)
        self._number(draft["components"])
        draft["mentions"] = self._mentioned(draft, body.get("allowed_mentions"))
        message.update(draft)

    def _acceptable(self, draft: Json, files: Files) -> None:
        if len(draft["content"]) > 2000:
            raise ApiError(50035, detail="content: Must be 2000 or fewer in length.")
        if len(draft["attachments"]) > 10:
            raise ApiError(50035, detail="attachments: Must be 10 or fewer in length.")
        if any(len(data) > self.file_bytes for _, data in files.values()):
            raise ApiError(40005)
        loading = draft["flags"] & LOADING
        if not (draft["content"].strip() or draft["attachments"] or draft["embeds"] or draft["components"] or loading):
            raise ApiError(50006)

    def _kept(self, message: Json, body: Json, files: Files) -> list[Json]:
        if body.get("attachments") is None:
            return list(message["attachments"])
        kept = {str(entry["id"]) for entry in body["attachments"]}
        return [attachment for attachment in message["attachments"] if attachment["id"] in kept]

    def _uploaded(self, message: Json, body: Json, files: Files) -> list[Json]:
        named = {str(entry["id"]): entry for entry in body.get("attachments") or []}
        return [
            self.attach(message["channel_id"], named.get(str(index), {}).get("filename") or name, data)
            for index, (name, data) in sorted(files.items())
        ]

    def attach(self, channel_id: str, name: str, data: bytes) -> Json:
        """A file on the loopback CDN."""
        file_id = self.guild.new_id()
        self.bytes[file_id] = data
        kind = mimetypes.guess_type(name)[0]
        url = f"{self.url}/attachments/{channel_id}/{file_id}/{name}?ex=0&is=0&hm=0"
        found = {"id": file_id, "filename": name, "size": len(data), "url": url, "proxy_url": url}
        if kind:
            found["content_type"] = f"{kind}; charset=utf-8" if kind.startswith("text/") else kind
        return found

    def _number(self, components: list[Json]) -> None:
        for number, component in enumerate(walk(components), 1):
            component.setdefault("id", number)

    def _mentioned(self, message: Json, allowed: Json | None) -> list[Json]:
        """Whom the message pings: those that it names and may, and who is answered."""
        named = [user for user in _MENTION.findall(message["content"]) if user in self.guild.users]
        if allowed is not None and "users" not in (allowed.get("parse") or []):
            named = [user for user in named if user in {str(one) for one in allowed.get("users") or []}]
        answered = self.answered(message)
        if answered is not None and (allowed or {}).get("replied_user", allowed is None):
            named.append(answered["author"]["id"])
        return [self.guild.users[user] for user in dict.fromkeys(named) if user in self.guild.users]

    def answered(self, message: Json) -> Json | None:
        """The message that this one replies to, if it is still there."""
        reference = message.get("message_reference")
        if not reference:
            return None
        place = self.by_channel[reference["channel_id"]]
        return next((other for other in place if other["id"] == reference["message_id"]), None)

    # ---- putting it there, with what the gateway says

    def add(self, message: Json, *, nonce: str | None = None, tell: bool = True) -> None:
        """The message appears in its channel; a thread that sleeps wakes up."""
        channel = self.guild.channel(message["channel_id"])
        if channel["type"] == PUBLIC_THREAD:
            channel["message_count"] += 1
            channel["total_message_sent"] += 1
            if channel["thread_metadata"]["archived"]:
                self.guild.set_thread(channel["id"], archived=False)
        self.by_channel[message["channel_id"]].append(message)
        channel["last_message_id"] = message["id"]
        if tell:
            self.guild.tell("MESSAGE_CREATE", self.event(message) | ({"nonce": nonce} if nonce else {}))

    def edited(self, message: Json, *, stamp: bool = True) -> None:
        if stamp:
            message["edited_timestamp"] = now_iso()
        if message["id"] not in self.hidden:
            self.guild.tell("MESSAGE_UPDATE", self.event(message))

    def remove(self, message: Json) -> None:
        if self.hidden.pop(message["id"], None) is not None:
            return
        self.by_channel[message["channel_id"]].remove(message)
        gone = {"id": message["id"], "channel_id": message["channel_id"], **self._where(message["channel_id"])}
        self.guild.tell("MESSAGE_DELETE", gone)

    def react(self, message: Json, emoji: str, user_id: str) -> None:
        if (emoji, user_id) not in self.reactions[message["id"]]:
            self.reactions[message["id"]].append((emoji, user_id))
            self._tell_reaction("MESSAGE_REACTION_ADD", message, emoji, user_id)

    def unreact(self, message: Json, emoji: str, user_id: str) -> None:
        if (emoji, user_id) in self.reactions[message["id"]]:
            self.reactions[message["id"]].remove((emoji, user_id))
            self._tell_reaction("MESSAGE_REACTION_REMOVE", message, emoji, user_id)

    def _tell_reaction(self, event: str, message: Json, emoji: str, user_id: str) -> None:
        data = {"user_id": user_id, "channel_id": message["channel_id"], "message_id": message["id"], "type": 0,
                "emoji": {"id": None, "name": emoji}, "burst": False, **self._where(message["channel_id"])}  # fmt: skip
        if event.endswith("ADD") and "guild_id" in data:
            data |= {"member": self.guild.members[user_id], "message_author_id": message["author"]["id"]}
        self.guild.tell(event, data)

    def _where(self, channel_id: str) -> Json:
        return {} if self.guild.channels[channel_id]["type"] == DM else {"guild_id": GUILD}

    # ---- as Discord shows it

    def render(self, message: Json) -> Json:
        """A REST answer's message object."""
        shown = copy.deepcopy(message)
        if self.reactions[message["id"]]:
            shown["reactions"] = self._counted(self.reactions[message["id"]])
        if "message_reference" in message:
            answered = self.answered(message)
            shown["referenced_message"] = None if answered is None else self._brief(answered)
        if message["flags"] & HAS_THREAD and message["id"] in self.guild.channels:
            shown["thread"] = copy.deepcopy(self.guild.channels[message["id"]])
        return shown

    def _brief(self, message: Json) -> Json:
        return {key: value for key, value in copy.deepcopy(message).items() if key != "message_reference"}

    def _counted(self, given: Iterable[tuple[str, str]]) -> list[Json]:
        by_emoji: dict[str, list[str]] = defaultdict(list)
        for emoji, user_id in given:
            by_emoji[emoji].append(user_id)
        return [
            {"emoji": {"id": None, "name": emoji}, "count": len(users), "me": BOT in users, "me_burst": False,
             "burst_count": 0, "count_details": {"burst": 0, "normal": len(users)}, "burst_colors": []}
            for emoji, users in by_emoji.items()
        ]  # fmt: skip

    def event(self, message: Json) -> Json:
        """A dispatch's message object: with the guild and who somebody is in it."""
        shown = self.render(message) | self._where(message["channel_id"])
        if "guild_id" not in shown:
            return shown
        shown["mentions"] = [user | self._as_member(user["id"]) for user in shown["mentions"]]
        if message["author"]["id"] in self.guild.members:
            shown |= self._as_member(message["author"]["id"])
        return shown

    def _as_member(self, user_id: str) -> Json:
        member = self.guild.members.get(user_id)
        return {} if member is None else {"member": {key: value for key, value in member.items() if key != "user"}}


def without_content(message: Json) -> Json:
    """What an application without the privilege gets of a message that is none of its business."""
    author, mentions = message.get("author", {}).get("id"), message.get("mentions", [])
    if author == BOT or any(user["id"] == BOT for user in mentions):
        return message
    blank: Json = {"content": "", "attachments": [], "embeds": [], "components": []}
    bare = message | {key: value for key, value in blank.items() if key in message}
    if bare.get("referenced_message"):
        bare["referenced_message"] = without_content(bare["referenced_message"])
    return bare


def words(message: Json) -> str:
    """All that a message shows, as a person reads it."""
    found = [message["content"]] if message["content"] else []
    found += [f"{embed.get('title', '')}\n{embed.get('description', '')}".strip() for embed in message["embeds"]]
    found += [f"[{attachment['filename']}]" for attachment in message["attachments"]]
    for component in walk(message["components"]):
        match component["type"]:
            case 2:
                found.append(f"[button {component.get('label') or component.get('emoji', {}).get('name', '')}]")
            case 3 | 5 | 6 | 7 | 8:
                found.append(f"[select {component.get('placeholder') or ''}]")
            case 10:
                found.append(component["content"])
    return "\n".join(found)
