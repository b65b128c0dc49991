"""The web chat as a platform: its messages are the store's, its live changes go to the tabs that watch."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from adapters.web.config import ENTRIES_MOST, NAME, NOTES_KEPT
from adapters.web.live import Listeners, event
from adapters.web.outbound import Html
from bot.model import Attachment, IncomingMessage, Quoted, Receipt, Reply, ThreadKey
from bot.ports import Commands, Intake, Sign
from bot.store_ports import Artifacts, History
from bot.text import STOPPING, file_name
from bot.views import Entry


class WebPlatform:
    """The Platform port. Keeps in memory only what is not final yet."""

    name = NAME
    edit_seconds = 0.1
    hold_seconds = 0.0
    outlives_us = True
    keeps_history = False

    def __init__(self, html: Html, intake: Intake, commands: Commands, history: History, artifacts: Artifacts) -> None:
        self.listeners = Listeners(time.monotonic)
        self.intake = intake
        self.commands = commands
        self.history = history
        self.artifacts = artifacts
        self._html = html
        # one thread: updates keep their order, and what renders is never used by two at a time
        self._renderer = ThreadPoolExecutor(1, thread_name_prefix="web-render")
        self._growing: dict[ThreadKey, dict[str, Reply]] = {}
        self._unseen: dict[ThreadKey, str] = {}  # the newest note of a thread that nobody watched

    # ---- the Platform port

    async def mark(self, message: IncomingMessage, sign: Sign) -> None:
        """See bot.ports.Platform."""
        if sign in ("done", "failed", "stopped"):
            self._growing.pop(message.key, None)
        elif sign != "working":
            await self._send(message.key, lambda: _added(self._html.message(message, sign)))
        await self._send(message.key, lambda: _replaced(self._html.status(message, sign)))

    async def publish(self, key: ThreadKey, reply: Reply) -> str:
        """See bot.ports.Platform."""
        self._remember(key, reply)
        await self._send(key, lambda: _added(self._html.reply(reply, key)))
        return reply.key

    async def update(self, key: ThreadKey, message_id: str, reply: Reply) -> None:
        """See bot.ports.Platform."""
        self._remember(key, reply)
        await self._send(key, lambda: _replaced(self._html.reply(reply, key)))

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

    async def take(self, message: IncomingMessage) -> Receipt:
        """A posted message. Raises Refused."""
        receipt = await self.intake.take(message, self)
        if receipt.kind == "context":
            await self._send(message.key, lambda: _added(self._html.message(message, None)))
        return receipt

    async def retry(self, turn_id: str) -> None:
        """Answer a message again. Raises LookupError, Refused."""
        await self.intake.retry(turn_id)

    async def stop(self, key: ThreadKey) -> None:
        """End what runs in a thread."""
        answer = await self.commands.stop(key)
        if answer != STOPPING:  # which the sign of what stops says too
            await self.say(key, answer)

    async def keep_upload(self, name: str, data: bytes) -> Attachment:
        """A file that a person sent, kept until its turn."""
        name = file_name(name)
        artifact = await self.artifacts.save(None, name, "application/octet-stream", data)
        return Attachment(name=name, size=len(data), source=artifact.id)

    async def entries(self, key: ThreadKey, most: int) -> list[Entry]:
        """The newest of a thread as they stand, with what still grows; one over `most` says that there are more."""
        kept = await self.history.entries(key, most + 1)
        growing = self._growing.get(key, {})
        return [self._as_it_stands(entry, growing) for entry in kept]

    def _as_it_stands(self, entry: Entry, growing: dict[str, Reply]) -> Entry:
        known = {reply.key: reply for reply in entry.replies}
        known |= {key: reply for key, reply in growing.items() if reply.turn_id == entry.turn_id}
        return replace(entry, replies=tuple(sorted(known.values(), key=lambda reply: reply.part)))

    async def snapshot(self, key: ThreadKey, most: int) -> str:
        """The thread as an event."""
        html = await self.html(key, await self.entries(key, most), most)
        return await self._rendered(lambda: event("snapshot", html))

    async def html(self, key: ThreadKey, entries: list[Entry], most: int) -> str:
        """Entries as HTML, and the note that nobody has seen yet."""
        html = [self._html.left_out(most, offer=most < ENTRIES_MOST)] if len(entries) > most else []
        seen: set[str] = set()
        for entry in entries[-most:]:  # one at a time: updates of other threads pass between them
            again = entry.message.message_id in seen
            seen.add(entry.message.message_id)
            html.append(await self._rendered(partial(self._html.entry, entry, again=again)))
        if key in self._unseen:
            html.append(await self.note(self._unseen.pop(key)))
        return "".join(html)

    async def note(self, text: str) -> str:
        """A line that nobody keeps, as HTML."""
        return await self._rendered(lambda: self._html.note(text))

    async def say(self, key: ThreadKey, text: str) -> None:
        """Show a note to who watches a thread, or else to who opens it next."""
        if not text:
            return
        if self.listeners.are_any(key):
            await self._send(key, lambda: _added(self._html.note(text)))
        else:
            self._unseen[key] = text
            while len(self._unseen) > NOTES_KEPT:
                del self._unseen[next(iter(self._unseen))]

    def _remember(self, key: ThreadKey, reply: Reply) -> None:
        growing = self._growing.setdefault(key, {})
        if reply.final:
            growing.pop(reply.key, None)
        else:
            growing[reply.key] = reply

    async def _send(self, key: ThreadKey, render: Callable[[], str]) -> None:
        if self.listeners.are_any(key):  # who comes later is given all that is known by then
            self.listeners.send(key, await self._rendered(lambda: event("update", render())))

    async def _rendered(self, render: Callable[[], str]) -> str:
        return await asyncio.get_running_loop().run_in_executor(self._renderer, render)


def _added(html: str) -> str:
    """An element, told to come after all others."""
    return f'<div hx-swap-oob="beforeend:#entries">{html}</div>'


def _replaced(html: str) -> str:
    """An element with an id, told to replace the one of that id."""
    head, mark, rest = html.partition(" id=")
    return f'{head} hx-swap-oob="outerHTML"{mark}{rest}'


def new_id() -> str:
    """An id for a thread or a message."""
    return secrets.token_hex(6)
