"""Browser tabs that watch a thread: each has a bounded queue; one that falls behind is cut off and comes again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from adapters.web.config import EVENTS_WAITING, LISTENERS
from bot.errors import Refused
from bot.model import ThreadKey

KEEP_ALIVE_SECONDS = 15.0


def event(name: str, html: str) -> str:
    """A server-sent event. A carriage return would end a line of it."""
    data = "".join(f"data: {line}\n" for line in html.replace("\r", "").split("\n"))
    return f"event: {name}\n{data}\n"


class Listeners:
    """The tabs, by thread."""

    def __init__(self) -> None:
        self._queues: dict[ThreadKey, set[asyncio.Queue[str | None]]] = {}
        self._count = 0

    def send(self, key: ThreadKey, text: str) -> None:
        """Give every tab of a thread an event; never waits."""
        for queue in list(self._queues.get(key, ())):
            if queue.qsize() < EVENTS_WAITING:
                queue.put_nowait(text)
            else:
                self._queues[key].discard(queue)
                queue.put_nowait(None)

    async def listen(self, key: ThreadKey, first: AsyncIterator[str]) -> AsyncIterator[str]:
        """Events of a thread: `first`, then what comes from now on. Raises Refused when too many listen."""
        if self._count >= LISTENERS:
            raise Refused(f"{LISTENERS} pages are open already.")
        queue: asyncio.Queue[str | None] = asyncio.Queue()
        self._queues.setdefault(key, set()).add(queue)
        self._count += 1
        try:
            async for text in first:
                yield text
            while True:
                try:
                    async with asyncio.timeout(KEEP_ALIVE_SECONDS):
                        text_or_end = await queue.get()
                except TimeoutError:
                    text_or_end = ": still here\n\n"
                if text_or_end is None:
                    return
                yield text_or_end
        finally:
            self._count -= 1
            watching = self._queues.get(key, set())
            watching.discard(queue)
            if not watching:
                self._queues.pop(key, None)

    def close(self) -> None:
        """End every stream."""
        for queues in self._queues.values():
            for queue in queues:
                queue.put_nowait(None)
