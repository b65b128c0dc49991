"""Prints replies as they grow: what was printed stays, only what is new is added."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from adapters.terminal.config import NAME
from adapters.terminal.outbound import lines
from bot.model import Artifact, Attachment, IncomingMessage, Picture, Quoted, Reply, ThreadKey
from bot.model import File as FileBlock
from bot.ports import Sign

ENDS: set[Sign] = {"done", "failed", "stopped"}


class TerminalPlatform:
    """The Platform port on a function that prints a line."""

    name = NAME
    edit_seconds = 0.05
    hold_seconds = 0.0
    outlives_us = False
    keeps_history = False

    def __init__(
        self, print_line: Callable[[str], None], on_artifact: Callable[[Artifact], None] | None = None
    ) -> None:
        self._print = print_line
        self._on_artifact = on_artifact
        self._printed: dict[str, list[str]] = {}
        self._ended = ""
        self._ends: dict[str, asyncio.Future[Sign]] = {}

    @contextmanager
    def ending(self, message_id: str) -> Iterator[asyncio.Future[Sign]]:
        """A future of the sign that a message's turn ends with."""
        future = self._ends[message_id] = asyncio.get_running_loop().create_future()
        try:
            yield future
        finally:
            del self._ends[message_id]

    async def mark(self, message: IncomingMessage, sign: Sign) -> None:
        """See bot.ports.Platform."""
        future = self._ends.get(message.message_id)
        if sign in ENDS and future is not None and not future.done():
            future.set_result(sign)

    async def publish(self, key: ThreadKey, reply: Reply) -> str:
        """See bot.ports.Platform."""
        self._show(reply)
        return reply.key

    async def update(self, key: ThreadKey, message_id: str, reply: Reply) -> None:
        """See bot.ports.Platform."""
        self._show(reply)

    async def find(self, key: ThreadKey, reply: Reply) -> str | None:
        """See bot.ports.Platform: what another process printed is gone."""
        return None

    async def earlier(self, message: IncomingMessage, limit: int) -> list[Quoted]:
        """See bot.ports.Platform: nobody spoke here before."""
        return []

    async def fetch(self, attachment: Attachment) -> bytes:
        """See bot.ports.Platform: nothing is attached in a terminal."""
        raise LookupError(attachment.name)

    def _show(self, reply: Reply) -> None:
        if reply.key == self._ended:
            return  # told again with its buttons, which a terminal has not
        now = list(lines(reply))
        before = self._printed.get(reply.key, [])
        common = 0
        while common < min(len(before), len(now)) and before[common] == now[common]:
            common += 1
        # a line that is still being written is not printed yet; one that changed after it was is printed again
        ready = now if reply.final else now[:-1]
        for line in ready[common:]:
            self._print(line)
        self._printed[reply.key] = ready
        if reply.final:
            self._ended = reply.key
            self._printed.pop(reply.key)
            for block in reply.blocks:
                if isinstance(block, Picture | FileBlock) and self._on_artifact is not None:
                    self._on_artifact(block.artifact)
