"""What Slack delivers, as messages and places; pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from adapters.slack.config import NAME
from adapters.slack.text import mentions, said
from bot.model import Attachment, IncomingMessage, Person, Quoted, ThreadKey

Json = dict[str, Any]

_SPOKEN = {None, "file_share", "thread_broadcast"}
"""Subtypes of messages that people wrote; a prompt with a file is a `file_share`."""
_TS = re.compile(r"\d{1,12}\.\d{1,9}")
RUN_MARK = "~"  # in a message id of ours: what follows tells requests about the same message apart


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who we are in a workspace."""

    user_id: str
    bot_id: str
    team_id: str
    enterprise_id: str = ""

    def place(self, channel: str, thread: str = "") -> ThreadKey:
        """A place as we name it: always by the workspace that we are installed in.

        In a channel that companies share, deliveries name the workspace of whoever acted.
        """
        return thread_key(self.team_id, channel, thread)


def ts_of(message_id: str) -> str:
    """Slack's own id of a message."""
    return message_id.partition(RUN_MARK)[0]


def moment(ts: str) -> datetime:
    """When a message was sent: its id is its time. Raises ValueError."""
    if _TS.fullmatch(ts) is None:
        raise ValueError(ts)
    return datetime.fromtimestamp(float(ts), UTC)


def is_spoken(event: Json, us: Identity) -> bool:
    """Whether a person wrote this message."""
    by_bot = event.get("bot_id") or event.get("subtype") == "bot_message" or event.get("user") in (us.user_id, None)
    return not by_bot and event.get("subtype") in _SPOKEN and bool(_TS.fullmatch(str(event.get("ts", ""))))


def message(event: Json, us: Identity, author: Person) -> IncomingMessage:
    """A message that `is_spoken`. The twins of one mention, `app_mention` and `message`, come out equal."""
    text = str(event.get("text") or "")
    ts = str(event["ts"])
    asked = mentions(text)
    direct = event.get("channel_type") == "im" or str(event.get("channel", "")).startswith("D")
    ours = us.user_id in asked
    return IncomingMessage(
        key=us.place(str(event["channel"]), str(event.get("thread_ts") or ts)),
        message_id=ts,
        author=author,
        text=said(text, us.user_id),
        sent_at=moment(ts),
        for_us=ours or direct,
        attachments=tuple(attachments(event)),
        for_others=bool(asked) and not ours and text.lstrip().startswith("<@"),
        in_thread=str(event.get("thread_ts") or ts) != ts,
    )


def thread_key(workspace: str, channel: str, thread: str) -> ThreadKey:
    """A place in Slack."""
    return ThreadKey(platform=NAME, workspace=workspace, channel=channel, thread=thread)


def attachments(event: Json) -> list[Attachment]:
    """The files of a message that can be fetched."""
    found = []
    for file in event.get("files") or []:
        url = file.get("url_private_download") or file.get("url_private")
        if url and file.get("mode") not in ("tombstone", "hidden_by_limit"):
            name = str(file.get("name") or file.get("title") or file.get("id") or "file")
            found.append(Attachment(name=name, size=int(file.get("size") or 0), source=str(url)))
    return found


def quoted(event: Json, us: Identity, name: str) -> Quoted:
    """A message of a thread as context."""
    ours = event.get("user") == us.user_id or event.get("bot_id") == us.bot_id
    speaker = "Threadbox" if ours else name
    files = () if ours else tuple(attachments(event))  # what we made is in the sandbox, or is gone with it
    return Quoted(speaker=speaker, text=said(str(event.get("text") or ""), us.user_id), attachments=files)


def edited(event: Json, us: Identity) -> tuple[str, str, str] | None:
    """Channel, message id and new text of a message that a person changed; None for anything else."""
    new, old = event.get("message") or {}, event.get("previous_message") or {}
    if event.get("subtype") != "message_changed" or new.get("bot_id") or new.get("user") in (us.user_id, None):
        return None
    if new.get("subtype") not in _SPOKEN or new.get("text") == old.get("text"):
        return None  # Slack sends the same when it unfurls a link
    return str(event["channel"]), str(new["ts"]), said(str(new.get("text") or ""), us.user_id)


def deleted(event: Json) -> tuple[str, str] | None:
    """Channel and id of a message that was deleted; None for anything else."""
    ts = event.get("deleted_ts")
    if event.get("subtype") == "message_deleted" and ts:
        return str(event["channel"]), str(ts)
    left = event.get("message") or {}
    if event.get("subtype") == "message_changed" and left.get("subtype") == "tombstone":  # it had replies
        return str(event["channel"]), str(left["ts"])
    return None


def pressed_thread(body: Json, us: Identity) -> ThreadKey:
    """The thread of a button or shortcut. Raises LookupError where there is no message."""
    source = body.get("message") or {}
    place = body.get("container") or {}
    channel = (body.get("channel") or {}).get("id") or place.get("channel_id")
    ts = source.get("thread_ts") or place.get("thread_ts") or source.get("ts") or place.get("message_ts")
    if not channel or not ts:
        raise LookupError("no message")
    return us.place(str(channel), str(ts))


def run_request(body: Json, author: Person, us: Identity, now: datetime) -> IncomingMessage:
    """The shortcut "Run this code" on somebody's message, as a message of who pressed it."""
    source = body.get("message") or {}
    ts = str(source.get("ts", ""))
    moment(ts)
    text = said(str(source.get("text") or ""), us.user_id)
    request = IncomingMessage(
        key=pressed_thread(body, us),
        message_id=f"{ts}{RUN_MARK}{body.get('trigger_id') or body.get('action_ts') or ''}"[:128],
        author=author,
        text=f"Run this code as it is:\n{text}",
        sent_at=now,
        for_us=True,
    )
    return replace(request, attachments=tuple(attachments(source)))


def person(user: Json, us: Identity, admins: frozenset[str]) -> Person:
    """A person as users.info describes them."""
    profile = user.get("profile") or {}
    name = profile.get("display_name") or user.get("real_name") or profile.get("real_name") or user.get("name")
    user_id = str(user.get("id", ""))
    is_admin = bool(user.get("is_admin") or user.get("is_owner") or user_id in admins)
    standing = _standing(user, us)
    return Person(
        id=user_id,
        name=" ".join(str(name or user_id).split())[:80],
        standing=standing,
        is_admin=is_admin and standing == "member",
    )


def _standing(user: Json, us: Identity) -> Any:
    enterprise = (user.get("enterprise_user") or {}).get("enterprise_id")
    ours = user.get("team_id") in (None, us.team_id) or (us.enterprise_id and enterprise == us.enterprise_id)
    if user.get("is_bot") or user.get("id") == "USLACKBOT":
        return "bot"
    if user.get("deleted"):
        return "unknown"
    if user.get("is_stranger") or not ours:
        return "external"
    if user.get("is_restricted") or user.get("is_ultra_restricted"):
        return "guest"
    return "member"
