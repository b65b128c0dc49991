"""Browser tabs that watch a thread: each has a bounded queue; one that falls behind is cut off and comes again."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from adapters.web.config import AWAITED_SECONDS, BYTES_WAITING, EVENTS_WAITING, LISTENERS, PAGES_AWAITED
from bot.errors import Refused
from bot.model import ThreadKey

KEEP_ALIVE_SECONDS = 15.0
STILL_HERE = b": still here\n\n"


def event(name: str, html: str) -> str:
    """A server-sent event. A carriage return would end a line of it."""
    data = "".join(f"data: {line}\n" for line in html.replace("\r", "").split("\n"))
    return f"event: {name}\n{data}\n"


@dataclass(eq=False, slots=True, kw_only=True)
class Tab:
    """A page and what it has not been sent yet."""

    key: ThreadKey
    served_at: float
    queue: asyncio.Queue[bytes | None] = field(default_factory=asyncio.Queue)
    waiting: int = 0
    """Bytes in the queue."""

    def put(self, data: bytes) -> bool:
        """Whether there was room for an event."""
        fits = self.queue.empty() or self.waiting + len(data) <= BYTES_WAITING  # a single one may be larger
        if self.queue.qsize() >= EVENTS_WAITING or not fits:
            return False
        self.waiting += len(data)
        self.queue.put_nowait(data)
        return True

    async def get(self) -> bytes | None:
        """The next event, or a sign of life after a while without any; None at the end."""
        try:
            async with asyncio.timeout(KEEP_ALIVE_SECONDS):
                data = await self.queue.get()
        except TimeoutError:
            return STILL_HERE
        self.waiting -= len(data or b"")
        return data


class Listeners:
    """The tabs, by thread; a page is one from the moment it is served, so that it misses nothing until it connects."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._tabs: dict[ThreadKey, set[Tab]] = {}
        self._awaited: dict[str, Tab] = {}  # the longest awaited first
        self._connected = 0

    def are_any(self, key: ThreadKey) -> bool:
        """Whether anybody watches a thread."""
        for token in [token for token, tab in self._awaited.items() if self._is_late(tab)]:
            self._forget(self._awaited.pop(token))
        return key in self._tabs

    def send(self, key: ThreadKey, text: str) -> None:
        """Give every tab of a thread an event; never waits."""
        data = text.encode()
        for tab in list(self._tabs.get(key, ())):
            if not tab.put(data):
                self._forget(tab)
                tab.queue.put_nowait(None)

    def expect(self, key: ThreadKey) -> str:
        """A page is about to be made: what comes from now on waits for it; the token to connect with."""
        while len(self._awaited) >= PAGES_AWAITED:
            self._forget(self._awaited.pop(next(iter(self._awaited))))
        token = secrets.token_urlsafe(12)
        self._awaited[token] = self._new(key)
        return token

    def listen(self, key: ThreadKey, token: str, snapshot: Callable[[], Awaitable[str]]) -> AsyncIterator[bytes]:
        """Events of a thread: those since its page was made, or where that is long ago a snapshot; then what comes.

        Raises Refused when too many listen, LookupError for another thread's token.
        """
        awaited = self._awaited.get(token)
        if awaited is not None and awaited.key != key:
            raise LookupError(token)
        if self._connected >= LISTENERS:
            raise Refused(f"{LISTENERS} pages of this chat are open already: close some of them.")
        return self._listen(key, token, snapshot)

    async def _listen(self, key: ThreadKey, token: str, snapshot: Callable[[], Awaitable[str]]) -> AsyncIterator[bytes]:
        tab = self._awaited.pop(token, None)
        has_page = tab is not None and tab in self._tabs.get(key, ())
        if tab is None or not has_page:
            tab = self._new(key)
        self._connected += 1
        try:
            yield STILL_HERE if has_page else (await snapshot()).encode()
            while (data := await tab.get()) is not None:
                yield data
        finally:
            self._connected -= 1
            self._forget(tab)

    def _new(self, key: ThreadKey) -> Tab:
        tab = Tab(key=key, served_at=self._clock())
        self._tabs.setdefault(key, set()).add(tab)
        return tab

    def _is_late(self, tab: Tab) -> bool:
        return self._clock() - tab.served_at > AWAITED_SECONDS

    def _forget(self, tab: Tab) -> None:
        watching = self._tabs.get(tab.key, set())
        watching.discard(tab)
        if not watching:
            self._tabs.pop(tab.key, None)

    def close(self) -> None:
        """End every stream."""
        for tabs in self._tabs.values():
            for tab in tabs:
                tab.queue.put_nowait(None)
