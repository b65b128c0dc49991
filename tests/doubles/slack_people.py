"""What people do in the loopback Slack: say, edit, press, command; and what a thread shows them."""

from __future__ import annotations

import time
from typing import Any

from tests.doubles.slack_api import BOT, BOT_USER, TEAM
from tests.doubles.slack_server import SlackServer

Json = dict[str, Any]

CHANNEL = "C1"
MENTION = f"<@{BOT_USER}>"


class People:
    """Ada and the others."""

    def __init__(self, server: SlackServer) -> None:
        self.server = server
        self.api = server.api

    async def say(
        self,
        text: str,
        *,
        user: str = "UADA",
        channel: str = CHANNEL,
        thread: str | None = None,
        files: list[Json] | None = None,
        wait: bool = True,
    ) -> str:
        """A message, stored and delivered; a mention comes twice, as in Slack. Its ts."""
        message = self.store(text, user=user, channel=channel, thread=thread, files=files)
        event = {**message, "channel": channel, "channel_type": "im" if channel.startswith("D") else "channel"}
        events = [{**event, "type": "message"}]
        if MENTION in text:
            twin = {k: v for k, v in event.items() if k not in ("channel_type", "subtype")}
            events.insert(0, {**twin, "type": "app_mention"})
        for one in events:
            task = self.server.later(self.server.event(one))
            if wait:
                await task
        return str(message["ts"])

    def store(
        self, text: str, *, user: str = "UADA", channel: str = CHANNEL, thread: str | None = None,
        files: list[Json] | None = None,
    ) -> Json:  # fmt: skip
        """A message that nobody is told of."""
        message: Json = {"type": "message", "user": user, "text": text, "ts": self.api.new_ts(), "team": TEAM}
        if thread:
            message["thread_ts"] = thread
        if files:
            message |= {"files": files, "subtype": "file_share"}
        self.api.messages[channel].append(message)
        return message

    def file(self, name: str, data: bytes) -> Json:
        """A file that somebody has."""
        file_id = f"FU{len(self.api.bytes)}"
        self.api.bytes[file_id] = data
        url = f"{self.api.url}/download/{file_id}"
        return {"id": file_id, "name": name, "size": len(data), "mode": "hosted", "url_private_download": url}

    async def edit(self, ts: str, text: str, *, channel: str = CHANNEL) -> None:
        """A message changed by its author."""
        message = self.api.find(channel, ts)
        before = dict(message)
        message["text"] = text
        await self.server.event(
            {"type": "message", "subtype": "message_changed", "channel": channel, "ts": self.api.new_ts(),
             "message": dict(message), "previous_message": before}
        )  # fmt: skip

    async def delete(self, ts: str, *, channel: str = CHANNEL) -> None:
        """A message taken back."""
        message = self.api.find(channel, ts)
        if any(other.get("thread_ts") == ts for other in self.api.messages[channel]):
            before = dict(message)
            message |= {"subtype": "tombstone", "text": "This message was deleted.", "user": "USLACKBOT"}
            await self.server.event(
                {"type": "message", "subtype": "message_changed", "channel": channel, "ts": self.api.new_ts(),
                 "message": dict(message), "previous_message": before}
            )  # fmt: skip
            return
        self.api.messages[channel].remove(message)
        await self.server.event(
            {"type": "message", "subtype": "message_deleted", "channel": channel, "ts": self.api.new_ts(),
             "deleted_ts": ts, "previous_message": message}
        )  # fmt: skip

    async def press(self, action: str, message: Json, *, user: str = "UADA", channel: str = CHANNEL) -> None:
        """A button under a message."""
        button = next(found for found in buttons(message) if found["action_id"] == action)
        value = button.get("value") or button["positive_button"]["value"]
        await self.server.deliver(
            "interactive",
            {"type": "block_actions", "team": {"id": TEAM}, "user": {"id": user}, "trigger_id": f"t{time.time_ns()}",
             "channel": {"id": channel}, "message": message, "response_url": f"{self.api.url}/respond",
             "container": {"type": "message", "channel_id": channel, "message_ts": message["ts"]},
             "actions": [{"type": "button", "action_id": action, "block_id": "b", "value": value,
                          "action_ts": f"{time.time():.6f}"}]},
        )  # fmt: skip

    async def command(self, text: str, *, user: str = "UADA", channel: str = CHANNEL) -> Json:
        """The slash command; what was answered."""
        before = len(self.server.responses)
        await self.server.deliver(
            "slash_commands",
            {"command": "/sandbox", "text": text, "user_id": user, "channel_id": channel, "team_id": TEAM,
             "trigger_id": f"t{time.time_ns()}", "response_url": f"{self.api.url}/respond"},
        )  # fmt: skip
        if text == "config":
            return await self.server.until(lambda: self.api.views and self.api.views[-1])
        return await self.server.until(lambda: self.server.responses[before:] and self.server.responses[-1])

    async def shortcut(self, name: str, message: Json, *, user: str = "UADA", channel: str = CHANNEL) -> None:
        """A message shortcut."""
        await self.server.deliver(
            "interactive",
            {"type": "message_action", "callback_id": name, "team": {"id": TEAM}, "user": {"id": user},
             "trigger_id": f"t{time.time_ns()}", "action_ts": f"{time.time():.6f}", "channel": {"id": channel},
             "message": message, "message_ts": message["ts"], "response_url": f"{self.api.url}/respond"},
        )  # fmt: skip

    async def submit(self, view: Json, values: dict[str, str], *, user: str = "UADA") -> Json:
        """A form sent back; the mistakes by field."""
        state: Json = {}
        for block in view["blocks"]:
            name, element = block["block_id"], block["element"]
            if element["type"] == "static_select":
                chosen = values.get(name) or element["initial_option"]["value"]
                state[name] = {"value": {"selected_option": {"value": chosen}}}
            else:
                state[name] = {"value": {"value": values.get(name, element["initial_value"])}}
        answer = await self.server.deliver(
            "interactive",
            {"type": "view_submission", "team": {"id": TEAM}, "user": {"id": user},
             "view": {**view, "id": "V1", "state": {"values": state}}},
        )  # fmt: skip
        payload = answer.get("payload") or {}
        return dict(payload.get("errors") or {}) if isinstance(payload, dict) else {}

    # ---- what is seen

    def thread(self, ts: str, channel: str = CHANNEL) -> list[Json]:
        """What the bot said in a thread."""
        return [m for m in self.api.messages[channel] if m.get("thread_ts") == ts and m.get("bot_id") == BOT]

    def shown(self, ts: str, channel: str = CHANNEL) -> str:
        """A thread's replies as a person reads them."""
        return "\n".join(words(message) for message in self.thread(ts, channel))

    async def sees(self, ts: str, text: str, channel: str = CHANNEL) -> None:
        """Return once a thread shows `text`."""
        try:
            await self.server.until(lambda: text in self.shown(ts, channel))
        except TimeoutError:
            raise AssertionError(f"{text!r} never came: {self.shown(ts, channel)}") from None

    async def ended(self, ts: str, channel: str = CHANNEL) -> str:
        """The sign that a message ends with."""
        ends = {"white_check_mark", "x", "octagonal_sign"}
        found: set[str] = await self.server.until(lambda: ends.intersection(self.api.reactions[channel, ts]))
        return found.pop()


def words(message: Json) -> str:
    """All that a message shows."""
    found = [str(message.get("text", ""))]
    for block in message.get("blocks") or []:
        if block["type"] == "markdown":
            found.append(block["text"])
        if block["type"] == "context":
            found += [element["text"] for element in block["elements"]]
    found += [f"[{entry['status']}] {entry['title']}" for entry in message.get("tasks", {}).values()]
    found += [f"[file {file['name']}]" for file in message.get("files") or []]
    return "\n".join(found)


def buttons(message: Json) -> list[Json]:
    """What can be pressed under a message."""
    return [element for block in message.get("blocks") or [] if block["type"] in ("actions", "context_actions")
            for element in block["elements"]]  # fmt: skip
