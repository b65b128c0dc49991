"""The terminal as a platform: replies are shown as they grow, and their files saved."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from adapters.terminal.config import NAME
from adapters.terminal.outbound import Kept
from adapters.terminal.screen import Shown
from bot.model import Artifact, Attachment, File, IncomingMessage, Picture, Quoted, Reply, ThreadKey
from bot.ports import Sign

ENDS: set[Sign] = {"done", "failed", "stopped"}

Keep = Callable[[Artifact], Awaitable[Kept]]
End = Sign | Literal["lost"]


@dataclass(slots=True)
class Course:
    """How a message's turn goes: whether it has begun, the sign that it ends with, and the turn that may be retried."""

    begun: asyncio.Event = field(default_factory=asyncio.Event)
    end: asyncio.Future[End] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    retry: str = ""


class TerminalPlatform:
    """The Platform port on what shows replies; `keep` saves a file, and must not raise."""

    name = NAME
    edit_seconds = 0.05
    hold_seconds = 0.0
    outlives_us = False
    keeps_history = False

    def __init__(self, shown: Shown, keep: Keep | None = None) -> None:
        self._shown = shown
        self._keep = keep
        self._ended = ""
        self._courses: dict[str, Course] = {}

    @contextmanager
    def following(self, message_id: str) -> Iterator[Course]:
        """The course of a message's turn."""
        course = self._courses[message_id] = Course()
        try:
            yield course
        finally:
            del self._courses[message_id]
            self._shown.working(False)

    def lost(self) -> None:
        """A turn broke off in a way that left nobody to mark its end; one runs at a time here."""
        for course in self._courses.values():
            if not course.end.done():
                course.end.set_result("lost")

    async def mark(self, message: IncomingMessage, sign: Sign) -> None:
        """See bot.ports.Platform."""
        course = self._courses.get(message.message_id)
        if course is None:
            return
        self._shown.working(sign not in ENDS)
        if sign == "working":
            course.begun.set()
        if sign in ENDS and not course.end.done():
            course.end.set_result(sign)

    async def publish(self, key: ThreadKey, reply: Reply) -> str:
        """See bot.ports.Platform."""
        await self._show(reply)
        return reply.key

    async def update(self, key: ThreadKey, message_id: str, reply: Reply) -> None:
        """See bot.ports.Platform."""
        await self._show(reply)

    async def find(self, key: ThreadKey, reply: Reply) -> str | None:
        """See bot.ports.Platform: what another process printed is gone."""
        return None

    async def earlier(self, message: IncomingMessage, limit: int) -> list[Quoted]:
        """See bot.ports.Platform: nobody spoke here before."""
        return []

    async def fetch(self, attachment: Attachment) -> bytes:
        """See bot.ports.Platform: nothing is attached in a terminal."""
        raise LookupError(attachment.name)

    async def _show(self, reply: Reply) -> None:
        for course in self._courses.values():
            course.retry = reply.turn_id if "retry" in reply.actions else ""
        if reply.key == self._ended:
            return  # told again with its buttons, which a terminal has not
        kept: dict[str, Kept] = {}
        if reply.final:
            for block in reply.blocks:
                if isinstance(block, Picture | File) and self._keep is not None:
                    kept[block.artifact.id] = await self._keep(block.artifact)
        self._shown.show(reply, kept)
        if reply.final:
            self._ended = reply.key
