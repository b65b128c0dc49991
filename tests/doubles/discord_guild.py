"""The loopback Discord's one guild: its people, roles, channels and threads, and who may do what where."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]

EPOCH_MS = 1_420_070_400_000
GUILD = EVERYONE = "1180000000000000001"
APPLICATION, BOT = "1180000000000000002", "1180000000000000003"
ADA, BOB, CAROL, GUS, ROBOT, WEBHOOK = (f"118000000000000001{n}" for n in range(6))
ADMINS, STUDENTS, MODERATORS, BOT_ROLE = (f"118000000000000002{n}" for n in range(4))
FORUM, GENERAL = "1180000000000000030", "1180000000000000040"
CHANNEL_NAMES = ("general", "random", "data", "science", "help", "ops", "support", "build", "lab", "quiet")
TEXT, DM, PUBLIC_THREAD, FORUM_TYPE = 0, 1, 11, 15

PERMISSIONS = {
    "administrator": 1 << 3, "manage_channels": 1 << 4, "manage_guild": 1 << 5, "add_reactions": 1 << 6,
    "view_channel": 1 << 10, "send_messages": 1 << 11, "manage_messages": 1 << 13, "embed_links": 1 << 14,
    "attach_files": 1 << 15, "read_message_history": 1 << 16, "use_application_commands": 1 << 31,
    "manage_threads": 1 << 34, "create_public_threads": 1 << 35, "send_messages_in_threads": 1 << 38,
}  # fmt: skip
ALL = (1 << 50) - 1
PEOPLE_MAY = sum(
    PERMISSIONS[name]
    for name in (
        "add_reactions", "view_channel", "send_messages", "embed_links", "attach_files", "read_message_history",
        "use_application_commands", "create_public_threads", "send_messages_in_threads",
    )
)  # fmt: skip
BOT_MAY = 309_237_763_136

CODES = {
    10003: (404, "Unknown Channel"), 10004: (404, "Unknown Guild"), 10008: (404, "Unknown Message"),
    10013: (404, "Unknown User"), 10015: (404, "Unknown Webhook"), 10062: (404, "Unknown interaction"),
    40005: (413, "Request entity too large"), 40060: (400, "Interaction has already been acknowledged."),
    50001: (403, "Missing Access"), 50005: (403, "Cannot edit a message authored by another user"),
    50006: (400, "Cannot send an empty message"), 50013: (403, "Missing Permissions"),
    50024: (400, "Cannot execute action on this channel type"), 50027: (401, "Invalid Webhook Token"),
    50035: (400, "Invalid Form Body"),
    50083: (400, "Tried to perform an operation on an archived thread"),
    160002: (403, "Cannot reply without permission to read message history"),
    160004: (400, "A thread has already been created for this message"), 160005: (403, "Thread is locked"),
    160006: (400, "Maximum number of active threads reached"),
}  # fmt: skip


class ApiError(Exception):
    """Discord's error answer with this code."""

    def __init__(self, code: int, status: int | None = None, detail: str = "") -> None:
        known, text = CODES.get(code, (400, "Error"))
        super().__init__(f"{code} {text} {detail}".strip())
        self.code, self.status, self.text = code, status or known, f"{text} {detail}".strip()


def now_iso() -> str:
    """The time as Discord writes it."""
    return datetime.now(UTC).isoformat()


def _user(user_id: str, name: str, **more: Any) -> Json:
    return {"id": user_id, "username": name, "global_name": name.title(), "discriminator": "0", "avatar": None,
            "bot": False, "public_flags": 0, "flags": 0, "primary_guild": None, **more}  # fmt: skip


def _role(role_id: str, name: str, permissions: int, **more: Any) -> Json:
    return {"id": role_id, "name": name, "permissions": str(permissions), "color": 0, "hoist": False, "position": 1,
            "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None}, "icon": None,
            "unicode_emoji": None, "managed": False, "mentionable": False, "flags": 0, **more}  # fmt: skip


class Guild:
    """Everything that is not a message."""

    def __init__(self) -> None:
        self.tell: Callable[[str, Json], None] = lambda event, data: None
        self.left = False
        self.thread_limit = 1000
        """Active threads that the guild may have."""
        self._last_id = 0
        self.channels: dict[str, Json] = {}
        self.users = {
            user["id"]: user
            for user in (
                _user(BOT, "threadbox", bot=True), _user(ADA, "ada"), _user(BOB, "bob"), _user(CAROL, "carol"),
                _user(GUS, "gus"), _user(ROBOT, "robot", bot=True),
                _user(WEBHOOK, "webhook", bot=True, discriminator="0000", global_name=None),
            )
        }  # fmt: skip
        self.roles = {
            role["id"]: role
            for role in (
                _role(EVERYONE, "@everyone", PEOPLE_MAY, position=0), _role(STUDENTS, "Students", 0),
                _role(ADMINS, "Admins", PERMISSIONS["manage_guild"] | PERMISSIONS["administrator"]),
                _role(MODERATORS, "Moderators", PERMISSIONS["manage_guild"]),
                _role(BOT_ROLE, "Threadbox", BOT_MAY, managed=True, tags={"bot_id": BOT}),
            )
        }  # fmt: skip
        held = {BOT: [BOT_ROLE], ADA: [ADMINS], BOB: [], CAROL: [MODERATORS], GUS: [STUDENTS], ROBOT: []}
        self.members = {user_id: self._member(user_id, roles) for user_id, roles in held.items()}
        for number, name in enumerate(CHANNEL_NAMES):
            self._add_channel(str(int(GENERAL) + number), name, TEXT)
        self._add_channel(FORUM, "forum", FORUM_TYPE)

    def new_id(self) -> str:
        """A snowflake of this moment; each is greater than the one before."""
        self._last_id = max((int(time.time() * 1000) - EPOCH_MS) << 22, self._last_id + 1)
        return str(self._last_id)

    def follow(self, before: Guild) -> None:
        """Go on where another left off: nobody sees an id twice."""
        self.tell, self._last_id = before.tell, before._last_id

    # ---- people

    def user_id(self, name: str) -> str:
        """A name's id; ids pass."""
        return next((user["id"] for user in self.users.values() if user["username"] == name), name)

    def new_user(self, name: str, roles: list[str] | None = None, **more: Any) -> str:
        """Somebody else in the guild; the id."""
        user_id = self.new_id()
        self.users[user_id] = _user(user_id, name, **more)
        self.members[user_id] = self._member(user_id, roles or [])
        return user_id

    def _member(self, user_id: str, roles: list[str]) -> Json:
        return {"user": self.users[user_id], "nick": None, "avatar": None, "banner": None, "roles": roles,
                "joined_at": "2024-01-01T00:00:00.000000+00:00", "premium_since": None, "deaf": False, "mute": False,
                "flags": 0, "pending": False, "communication_disabled_until": None}  # fmt: skip

    # ---- permissions

    def permissions(self, user_id: str, channel: Json | None = None) -> int:
        """The bits that somebody has, in a channel or a thread of it."""
        if channel is not None and channel["type"] == DM:
            return BOT_MAY | PEOPLE_MAY
        if user_id not in self.members:
            return 0
        held = [EVERYONE, *self.members[user_id]["roles"]]
        bits = 0
        for role_id in held:
            bits |= int(self.roles[role_id]["permissions"])
        if bits & PERMISSIONS["administrator"]:
            return ALL
        return bits if channel is None else self._overwritten(bits, user_id, held, channel)

    def _overwritten(self, bits: int, user_id: str, held: list[str], channel: Json) -> int:
        place = self.channels[channel["parent_id"]] if channel["type"] == PUBLIC_THREAD else channel
        for level in ([EVERYONE], held[1:], [user_id]):
            rules = [rule for rule in place["permission_overwrites"] if rule["id"] in level]
            for rule in rules:
                bits &= ~int(rule["deny"])
            for rule in rules:
                bits |= int(rule["allow"])
        return bits if bits & PERMISSIONS["view_channel"] else 0

    def may(self, permission: str, channel: Json, user_id: str = BOT) -> bool:
        return bool(self.permissions(user_id, channel) & PERMISSIONS[permission])

    def need(self, permission: str, channel: Json) -> None:
        """Raises ApiError as Discord does for what the bot may not do."""
        if channel["type"] != DM and self.left:
            raise ApiError(50001)
        if not self.may("view_channel", channel):
            raise ApiError(50001)
        if not self.may(permission, channel):
            raise ApiError(50013)

    def deny(self, channel: str, *names: str, who: str = BOT) -> None:
        """From now on `who` lacks these permissions in a channel; no names: has all of them again."""
        place = self.channel(channel)
        bits = sum(PERMISSIONS[name] for name in names)
        rules = [rule for rule in place["permission_overwrites"] if rule["id"] != who]
        if bits:
            rules.append({"id": who, "type": int(who in self.members), "allow": "0", "deny": str(bits)})
        place["permission_overwrites"] = rules
        self.tell("CHANNEL_UPDATE", place)

    # ---- channels

    def channel(self, name: str) -> Json:
        """A channel or thread by id, or a text channel by name. Raises ApiError."""
        found = self.channels.get(name)
        if found is None:
            found = next((c for c in self.channels.values() if c.get("name") == name and c["type"] != 11), None)
        if found is None:
            raise ApiError(10003)
        return found

    def new_channel(self, name: str) -> str:
        """Another text channel; the id."""
        channel = self._add_channel(self.new_id(), name, TEXT)
        self.tell("CHANNEL_CREATE", channel)
        return str(channel["id"])

    def _add_channel(self, channel_id: str, name: str, kind: int) -> Json:
        self.channels[channel_id] = {
            "id": channel_id, "type": kind, "guild_id": GUILD, "name": name, "position": len(self.channels),
            "permission_overwrites": [], "nsfw": False, "topic": None, "parent_id": None, "last_message_id": None,
            "rate_limit_per_user": 0, "flags": 0,
        }  # fmt: skip
        if kind == FORUM_TYPE:
            self.channels[channel_id] |= {"available_tags": [], "default_reaction_emoji": None}
        return self.channels[channel_id]

    def dm_id(self, name: str) -> str:
        return str(int(self.user_id(name)) + 1000)

    def dm(self, user_id: str) -> Json:
        """The bot's direct messages with somebody."""
        channel_id = self.dm_id(user_id)
        return self.channels.setdefault(
            channel_id,
            {"id": channel_id, "type": DM, "recipients": [self.users[user_id]], "last_message_id": None, "flags": 0},
        )

    def new_thread(self, thread_id: str, parent: Json, name: str, owner: str, minutes: int = 1440) -> Json:
        thread = {
            "id": thread_id, "type": PUBLIC_THREAD, "guild_id": GUILD, "parent_id": parent["id"], "owner_id": owner,
            "name": name, "last_message_id": None, "message_count": 0, "member_count": 2, "total_message_sent": 0,
            "rate_limit_per_user": 0, "flags": 0,
            "thread_metadata": {"archived": False, "auto_archive_duration": minutes, "locked": False,
                                "archive_timestamp": now_iso(), "create_timestamp": now_iso()},
        }  # fmt: skip
        self.channels[thread_id] = thread
        return thread

    def set_thread(self, thread_id: str, **metadata: Any) -> None:
        """Archive, lock, or the opposite; told to the bot."""
        thread = self.channel(thread_id)
        thread["thread_metadata"] |= {**metadata, "archive_timestamp": now_iso()}
        self.tell("THREAD_UPDATE", thread)

    def active_threads(self) -> list[Json]:
        return [c for c in self.channels.values()
                if c["type"] == PUBLIC_THREAD and not c["thread_metadata"]["archived"]]  # fmt: skip

    # ---- the guild as Discord shows it

    def brief(self) -> Json:
        return {
            "id": GUILD, "name": "G", "icon": None, "owner_id": ADA, "features": [], "roles": list(self.roles.values()),
            "emojis": [], "stickers": [], "verification_level": 0, "default_message_notifications": 0,
            "explicit_content_filter": 0, "afk_timeout": 300, "mfa_level": 0, "premium_tier": 0, "nsfw_level": 0,
            "system_channel_id": None, "system_channel_flags": 0, "preferred_locale": "en-US", "description": None,
            "premium_progress_bar_enabled": False,
        }  # fmt: skip

    def full(self) -> Json:
        """What GUILD_CREATE brings; without the presences intent its only member is the bot itself."""
        top = [c for c in self.channels.values() if c["type"] in (TEXT, FORUM_TYPE)]
        return {**self.brief(), "member_count": len(self.members), "members": [self.members[BOT]], "channels": top,
                "threads": self.active_threads(), "large": False, "unavailable": False, "joined_at": now_iso(),
                "voice_states": [], "presences": [], "stage_instances": [], "guild_scheduled_events": [],
                "soundboard_sounds": []}  # fmt: skip
