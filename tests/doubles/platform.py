"""A Platform in memory, with faults: slow, failing, or losing its answer after the post has happened."""

from __future__ import annotations

import asyncio

from bot.model import Attachment, IncomingMessage, Notice, Printed, Quoted, Reply, Text, ThreadKey
from bot.ports import Sign


class MemoryPlatform:
    """Keeps what was posted; edits replace."""

    name = "memory"
    edit_seconds = 0.01
    hold_seconds = 0.0
    outlives_us = True
    keeps_history = False

    def __init__(self) -> None:
        self.posts: dict[str, Reply] = {}
        self.order: list[str] = []
        self.signs: dict[str, list[Sign]] = {}
        self.edits = 0
        self.files: dict[str, bytes] = {}
        self.said: list[Quoted] = []
        self.fail_next = 0
        self.lose_next = 0
        self._changed = asyncio.Condition()

    async def mark(self, message: IncomingMessage, sign: Sign) -> None:
        async with self._changed:
            self.signs.setdefault(message.message_id, []).append(sign)
            self._changed.notify_all()

    async def publish(self, key: ThreadKey, reply: Reply) -> str:
        if self.fail_next:
            self.fail_next -= 1
            raise ConnectionError("scripted")
        message_id = f"m{len(self.order)}"
        self.order.append(reply.key)
        await self._set(message_id, reply)
        if self.lose_next:
            self.lose_next -= 1
            raise ConnectionError("scripted: posted, but the answer was lost")
        return message_id

    async def update(self, key: ThreadKey, message_id: str, reply: Reply) -> None:
        self.edits += 1
        await self._set(message_id, reply)

    async def find(self, key: ThreadKey, reply: Reply) -> str | None:
        return next((name for name, post in self.posts.items() if post.key == reply.key), None)

    async def earlier(self, message: IncomingMessage, limit: int) -> list[Quoted]:
        return self.said[-limit:]

    async def fetch(self, attachment: Attachment) -> bytes:
        return self.files[attachment.source]

    async def _set(self, message_id: str, reply: Reply) -> None:
        async with self._changed:
            self.posts[message_id] = reply
            self._changed.notify_all()

    # ---- beyond the port, for tests

    async def ended(self, message_id: str) -> Sign:
        """The sign that a message ends with."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._end(message_id) is not None)
        return self._end(message_id) or "failed"

    def _end(self, message_id: str) -> Sign | None:
        signs = self.signs.get(message_id, [])
        return signs[-1] if signs and signs[-1] in ("done", "failed", "stopped") else None

    async def shows(self, text: str) -> None:
        """Return once some post shows `text`."""
        async with self._changed:
            await self._changed.wait_for(lambda: text in self.text())

    def text(self) -> str:
        """Everything that is shown, as text."""
        return "\n".join(line for reply in self.posts.values() for line in _lines(reply))


def _lines(reply: Reply) -> list[str]:
    lines: list[str] = []
    for block in reply.blocks:
        match block:
            case Text():
                lines.append(block.markdown)
            case Printed() | Notice():
                lines.append(block.text)
            case _:
                lines.append(repr(block))
    return lines
