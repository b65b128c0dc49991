"""The web chat as a platform: its messages are the store's, its live changes go to the tabs that watch."""

from __future__ import annotations

import secrets
from dataclasses import replace

from adapters.web.config import ENTRIES_SHOWN, NAME
from adapters.web.live import Listeners, event
from adapters.web.outbound import Html
from bot.model import Attachment, IncomingMessage, Quoted, Reply, ThreadKey
from bot.ports import Commands, Intake, Sign
from bot.store_ports import Artifacts, History
from bot.text import NOTHING_RUNS
from bot.views import Entry

_LIVE_SIGNS: tuple[Sign, ...] = ("seen", "queued", "working")


class WebPlatform:
    """The Platform port. Keeps in memory only what is not final yet."""

    name = NAME
    edit_seconds = 0.1
    hold_seconds = 0.0
    outlives_us = True
    keeps_history = False

    def __init__(self, html: Html, intake: Intake, commands: Commands, history: History, artifacts: Artifacts) -> None:
        self.listeners = Listeners()
        self.intake = intake
        self.commands = commands
        self.history = history
        self.artifacts = artifacts
        self._html = html
        self._growing: dict[ThreadKey, dict[str, Reply]] = {}
        self._signs: dict[str, Sign] = {}

    # ---- the Platform port

    async def mark(self, message: IncomingMessage, sign: Sign) -> None:
        """See bot.ports.Platform."""
        if sign in ("seen", "queued"):
            self._send(message.key, f'<div hx-swap-oob="beforeend:#entries">{self._html.message(message, sign)}</div>')
        if sign in _LIVE_SIGNS:
            self._signs[message.message_id] = sign
        else:
            self._signs.pop(message.message_id, None)
            self._growing.pop(message.key, None)
        self._send(message.key, _oob(self._html.status(message, sign), "outerHTML"))

    async def publish(self, key: ThreadKey, reply: Reply) -> str:
        """See bot.ports.Platform."""
        self._remember(key, reply)
        self._send(key, f'<div hx-swap-oob="beforeend:#entries">{self._html.reply(reply, key)}</div>')
        return reply.key

    async def update(self, key: ThreadKey, message_id: str, reply: Reply) -> None:
        """See bot.ports.Platform."""
        self._remember(key, reply)
        self._send(key, _oob(self._html.reply(reply, key), "outerHTML"))

    async def find(self, key: ThreadKey, reply: Reply) -> str | None:
        """See bot.ports.Platform: the outbox is where our messages are, so whatever is in it was posted."""
        return reply.key

    async def earlier(self, message: IncomingMessage, limit: int) -> list[Quoted]:
        """See bot.ports.Platform: everything said here came to us, and is ours to remember."""
        return []

    async def fetch(self, attachment: Attachment) -> bytes:
        """See bot.ports.Platform."""
        _, data = await self.artifacts.load(attachment.source)
        return data

    # ---- what the pages need

    async def take(self, message: IncomingMessage) -> None:
        """A posted message. Raises Refused."""
        receipt = await self.intake.take(message, self)
        if receipt.answer:
            self._note(message.key, receipt.answer)
        elif receipt.kind == "context":
            html = self._html.message(message, None)
            self._send(message.key, f'<div hx-swap-oob="beforeend:#entries">{html}</div>')

    async def retry(self, turn_id: str) -> None:
        """Answer a message again. Raises LookupError, Refused."""
        await self.intake.retry(turn_id)

    async def stop(self, key: ThreadKey) -> None:
        """End what runs in a thread."""
        answer = await self.commands.stop(key)
        if answer == NOTHING_RUNS:
            self._note(key, answer)

    async def keep_upload(self, name: str, data: bytes) -> Attachment:
        """A file that a person sent, kept until its turn."""
        artifact = await self.artifacts.save(None, name, "application/octet-stream", data)
        return Attachment(name=name, size=len(data), source=artifact.id)

    async def entries(self, key: ThreadKey) -> list[Entry]:
        """The thread as it stands now, with what is still growing."""
        growing = self._growing.get(key, {})
        return [self._as_it_stands(entry, growing) for entry in await self.history.entries(key, ENTRIES_SHOWN)]

    def _as_it_stands(self, entry: Entry, growing: dict[str, Reply]) -> Entry:
        known = {reply.key: reply for reply in entry.replies}
        known |= {key: reply for key, reply in growing.items() if reply.turn_id == entry.turn_id}
        return replace(entry, replies=tuple(sorted(known.values(), key=lambda reply: reply.part)))

    async def snapshot(self, key: ThreadKey) -> str:
        """The thread's HTML."""
        return self._html.entries(await self.entries(key))

    def _remember(self, key: ThreadKey, reply: Reply) -> None:
        growing = self._growing.setdefault(key, {})
        if reply.final:
            growing.pop(reply.key, None)
        else:
            growing[reply.key] = reply

    def _note(self, key: ThreadKey, text: str) -> None:
        if text:
            self._send(key, f'<div hx-swap-oob="beforeend:#entries">{self._html.note(text)}</div>')

    def _send(self, key: ThreadKey, html: str) -> None:
        self.listeners.send(key, event("update", html))


def _oob(html: str, how: str) -> str:
    """An element with an id, told to replace the one of that id."""
    head, mark, rest = html.partition(" id=")
    return f'{head} hx-swap-oob="{how}"{mark}{rest}'


def new_id() -> str:
    """An id for a thread or a message."""
    return secrets.token_hex(6)
