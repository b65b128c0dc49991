"""Slack's Web API in memory: what the adapter calls, checked as strictly as Slack checks it.

Messages keep their metadata; streams end by themselves; every outgoing block list passes slack_sdk's own validator and
the 50-block and 9,000-character budgets. `faults` makes a method fail before or after it has happened.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from slack_sdk.models.blocks import Block

Json = dict[str, Any]

BOT_USER, BOT, TEAM = "UBOT", "BBOT", "T1"
STREAM_SECONDS = 300.0
LIMITS = {
    "post": 60, "chat.postMessage": 300, "chat.startStream": 20, "chat.stopStream": 20, "chat.appendStream": 100,
    "chat.update": 50, "reactions.add": 50, "reactions.remove": 20, "agents.sessions.setStatus": 50,
    "conversations.replies": 50, "conversations.history": 50,
}  # fmt: skip
"""Calls a minute, as docs.slack.dev has them."""


class ApiError(Exception):
    """`ok: false` with this word."""


@dataclass(frozen=True)
class Fault:
    """How the next call of a method fails: `ratelimited`, `status`, `cut` (before), `cut_after` (it happened), or a word."""

    kind: str
    value: float = 0.0


@dataclass
class SlackApi:
    """The workspace."""

    url: str = ""
    lacks: set[str] = field(default_factory=set)
    faults: dict[str, deque[Fault]] = field(default_factory=lambda: defaultdict(deque))
    users: dict[str, Json] = field(default_factory=dict)
    messages: dict[str, list[Json]] = field(default_factory=lambda: defaultdict(list))
    files: dict[str, Json] = field(default_factory=dict)
    bytes: dict[str, bytes] = field(default_factory=dict)
    views: list[Json] = field(default_factory=list)
    homes: dict[str, Json] = field(default_factory=dict)
    whispers: list[Json] = field(default_factory=list)
    statuses: list[Json] = field(default_factory=list)
    reactions: dict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))
    calls: list[tuple[float, str, Json]] = field(default_factory=list)
    stream_appends: int = 10_000
    scopes: list[str] = field(default_factory=list)
    minute: float | None = None
    """The length of Slack's minute where its limits are kept; None keeps none."""
    over_limit: list[str] = field(default_factory=list)
    _spent: dict[str, deque[float]] = field(default_factory=lambda: defaultdict(deque))
    _last_ts: float = 0.0
    changed: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        for user_id, name, extra in (
            ("UADA", "Ada", {}),
            ("UBOB", "Bob", {}),
            ("UROOT", "Root", {"is_admin": True}),
            ("UGUEST", "Gus", {"is_restricted": True}),
            ("UEXT", "Eve", {"team_id": "T2"}),
            ("UROBOT", "Robot", {"is_bot": True}),
        ):
            self.users[user_id] = {
                "id": user_id, "name": name.lower(), "team_id": TEAM, "profile": {"display_name": name}, **extra,
            }  # fmt: skip

    def new_ts(self) -> str:
        self._last_ts = max(self._last_ts + 0.000_001, time.time())
        return f"{self._last_ts:.6f}"

    # ---- one call

    def call(self, method: str, arguments: Json) -> Json:
        """Carry out a call. Raises ApiError."""
        self.calls.append((time.monotonic(), method, arguments))
        self._count(method, arguments)
        name = method.replace(".", "_")
        handler = getattr(self, f"do_{name}", None)
        if handler is None or method in self.lacks:
            raise ApiError("unknown_method")
        answer: Json = handler(**arguments)
        self.changed()
        return {"ok": True, **answer}

    def _count(self, method: str, arguments: Json) -> None:
        if self.minute is None:
            return
        buckets = [method]
        if method == "chat.postMessage":
            buckets.append(f"post:{arguments['channel']}")
        now = time.monotonic()
        for bucket in buckets:
            spent = self._spent[bucket]
            while spent and now - spent[0] > self.minute:
                spent.popleft()
            if len(spent) >= LIMITS.get(bucket.partition(":")[0], 100):
                self.over_limit.append(bucket)
            spent.append(now)

    # ---- who

    def do_auth_test(self) -> Json:
        return {
            "user_id": BOT_USER, "bot_id": BOT, "team_id": TEAM, "url": "https://example.slack.com/",
            "user": "threadbox", "team": "Example",
        }  # fmt: skip

    def do_users_info(self, user: str) -> Json:
        if user not in self.users:
            raise ApiError("user_not_found")
        return {"user": self.users[user]}

    # ---- messages

    def do_chat_postMessage(self, channel: str, text: str = "", **more: Any) -> Json:
        more.pop("unfurl_links", None)
        more.pop("unfurl_media", None)
        self._check(text, more.get("blocks"))
        message = {"type": "message", "user": BOT_USER, "bot_id": BOT, "text": text, "ts": self.new_ts(), **more}
        self.messages[channel].append(message)
        return {"ts": message["ts"], "channel": channel, "message": message}

    def do_chat_update(self, channel: str, ts: str, text: str = "", **more: Any) -> Json:
        self._check(text, more.get("blocks"))
        message = self.find(channel, ts)
        if message.get("streaming"):
            raise ApiError("streaming_state_conflict")
        message.update(text=text, **more)
        message["edits"] = message.get("edits", 0) + 1
        return {"ts": ts, "channel": channel}

    def do_chat_delete(self, channel: str, ts: str) -> Json:
        self.messages[channel].remove(self.find(channel, ts))
        return {}

    def do_chat_postEphemeral(self, channel: str, user: str, text: str = "", **more: Any) -> Json:
        self._check(text, more.get("blocks"))
        self.whispers.append({"channel": channel, "user": user, "text": text, **more})
        return {"message_ts": self.new_ts()}

    def _check(self, text: str, blocks: list[Json] | None) -> None:
        if len(text) > 4000:
            raise ApiError("msg_too_long")
        if blocks is None:
            return
        if len(blocks) > 50:
            raise ApiError("invalid_blocks")
        if "thumbs" in self.lacks and any(block["type"] == "context_actions" for block in blocks):
            raise ApiError("invalid_blocks")
        if "blocks" in self.lacks:
            raise ApiError("invalid_blocks")
        for block in blocks:
            parsed = Block.parse(dict(block))
            assert parsed is not None, block
            parsed.validate_json()
        if sum(len(words) for words in _texts(blocks)) > 9_000:
            raise ApiError("msg_blocks_too_long")

    def find(self, channel: str, ts: str) -> Json:
        for message in self.messages[channel]:
            if message["ts"] == ts:
                return message
        raise ApiError("message_not_found")

    def do_conversations_replies(self, channel: str, ts: str, **more: Any) -> Json:
        whole = [m for m in self.messages[channel] if m["ts"] == ts or m.get("thread_ts") == ts]
        if not whole:
            raise ApiError("thread_not_found")
        return self._page(whole, more)

    def do_conversations_history(self, channel: str, **more: Any) -> Json:
        return self._page([m for m in self.messages[channel] if m.get("thread_ts", m["ts"]) == m["ts"]][::-1], more)

    def _page(self, messages: list[Json], more: Json) -> Json:
        oldest, latest = float(more.get("oldest") or 0), float(more.get("latest") or 1e12)
        inside = [m for m in messages if oldest <= float(m["ts"]) <= latest]
        start, limit = int(more.get("cursor") or 0), int(more.get("limit") or 100)
        keep = str(more.get("include_all_metadata", "")) in ("1", "true", "True")
        page = [m if keep else {k: v for k, v in m.items() if k != "metadata"} for m in inside[start : start + limit]]
        cursor = str(start + limit) if start + limit < len(inside) else ""
        return {"messages": page, "has_more": bool(cursor), "response_metadata": {"next_cursor": cursor}}

    # ---- reactions and status

    def do_reactions_add(self, channel: str, name: str, timestamp: str) -> Json:
        if name in self.reactions[channel, timestamp]:
            raise ApiError("already_reacted")
        self.reactions[channel, timestamp].append(name)
        return {}

    def do_reactions_remove(self, channel: str, name: str, timestamp: str) -> Json:
        if name not in self.reactions[channel, timestamp]:
            raise ApiError("no_reaction")
        self.reactions[channel, timestamp].remove(name)
        return {}

    def do_agents_sessions_setStatus(self, **status: Any) -> Json:
        self.statuses.append(status)
        return {}

    do_assistant_threads_setStatus = do_agents_sessions_setStatus

    # ---- streams

    def do_chat_startStream(self, channel: str, thread_ts: str, chunks: list[Json], **more: Any) -> Json:
        assert more["recipient_user_id"]
        assert more["recipient_team_id"] == TEAM
        ts = self.new_ts()
        message = {
            "type": "message", "user": BOT_USER, "bot_id": BOT, "text": "", "ts": ts, "thread_ts": thread_ts,
            "streaming": True, "appends": 0, "began": time.monotonic(), "tasks": {},
        }  # fmt: skip
        self.messages[channel].append(message)
        self._append(message, chunks)
        return {"ts": ts, "channel": channel}

    def do_chat_appendStream(self, channel: str, ts: str, chunks: list[Json]) -> Json:
        message = self._streaming(channel, ts)
        message["appends"] += 1
        if message["appends"] > self.stream_appends or time.monotonic() - message["began"] > STREAM_SECONDS:
            message["streaming"] = False
            raise ApiError("message_not_in_streaming_state")
        self._append(message, chunks)
        return {"ts": ts}

    def do_chat_stopStream(self, channel: str, ts: str, chunks: list[Json] | None = None, **more: Any) -> Json:
        message = self._streaming(channel, ts)
        self._check("", more.get("blocks"))
        self._append(message, chunks or [])
        message["streaming"] = False
        message.update({name: value for name, value in more.items() if name in ("blocks", "metadata")})
        return {"ts": ts}

    def _streaming(self, channel: str, ts: str) -> Json:
        message = self.find(channel, ts)
        if not message.get("streaming"):
            raise ApiError("message_not_in_streaming_state")
        return message

    def _append(self, message: Json, chunks: list[Json]) -> None:
        for chunk in chunks:
            if chunk["type"] == "markdown_text":
                assert len(chunk["text"]) <= 12_000
                message["text"] += chunk["text"]
            else:
                assert chunk["type"] == "task_update"
                message["tasks"][chunk["id"]] = chunk

    # ---- files and views

    def do_files_getUploadURLExternal(self, filename: str, length: str, **more: Any) -> Json:
        file_id = f"F{len(self.files) + 1}"
        self.files[file_id] = {"id": file_id, "name": filename, "size": int(length), "channels": []}
        return {"upload_url": f"{self.url}/upload/{file_id}", "file_id": file_id}

    def do_files_completeUploadExternal(self, files: str, channel_id: str, thread_ts: str) -> Json:
        for given in json.loads(files):
            file = self.files[given["id"]]
            assert len(self.bytes[file["id"]]) == file["size"]
            file["channels"].append(channel_id)
            self.messages[channel_id].append(
                {"type": "message", "subtype": "file_share", "user": BOT_USER, "bot_id": BOT, "text": "",
                 "ts": self.new_ts(), "thread_ts": thread_ts, "files": [file]}
            )  # fmt: skip
        return {"files": []}

    def do_files_info(self, file: str) -> Json:
        return {"file": self.files[file]}

    def do_views_open(self, trigger_id: str, view: Json) -> Json:
        self.views.append(view)
        return {}

    def do_views_publish(self, user_id: str, view: Json) -> Json:
        self.homes[user_id] = view
        return {}


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        found = [value["text"]] if isinstance(value.get("text"), str) else []
        return [*found, *(text for inner in value.values() for text in _texts(inner))]
    if isinstance(value, list):
        return [text for inner in value for text in _texts(inner)]
    return []
