"""Signs on people's messages, shown beside everything else: of several for one message the newest counts."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Mapping
from typing import Generic, TypeVar

import structlog
from cachetools import LRUCache

from bot.ports import Sign

log = structlog.get_logger()

WAITING_MOST = 5_000  # beyond that the oldest are left out
AT_ONCE = 4  # on their way
SHOWN_KEPT = 5_000  # messages whose reactions are remembered

ENDS: frozenset[Sign] = frozenset({"done", "failed", "stopped"})
PASSING: tuple[Sign, ...] = ("queued", "done", "failed", "stopped")  # taken away when another comes

Where = TypeVar("Where", bound=Hashable)
"""How a platform names a message."""


class SignQueue(Generic[Where]):
    """`want` returns at once; `run` has `show` show what is wanted."""

    def __init__(self, show: Callable[[Where, Sign], Awaitable[None]]) -> None:
        self._show = show
        self._wanted: OrderedDict[Where, Sign] = OrderedDict()
        self._at_work: set[Where] = set()
        self._wake = asyncio.Event()

    def want(self, where: Where, sign: Sign) -> None:
        """Show how a message's turn stands."""
        self._wanted.pop(where, None)
        while len(self._wanted) >= WAITING_MOST:
            self._wanted.popitem(last=False)
        self._wanted[where] = sign
        self._wake.set()

    async def run(self) -> None:
        """Show what is wanted, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for number in range(AT_ONCE):
                group.create_task(self._work(), name=f"signs-{number}")

    async def _work(self) -> None:
        while True:
            where = next((where for where in self._wanted if where not in self._at_work), None)
            if where is None:
                self._wake.clear()
                await self._wake.wait()
                continue
            sign = self._wanted.pop(where)
            self._at_work.add(where)  # two signs of one message on their way would race
            try:
                await self._show(where, sign)
            except Exception:  # one sign that fails must not end the others
                log.exception("signs.failed", sign=sign)
            finally:
                self._at_work.discard(where)
                self._wake.set()


class Reactions(Generic[Where]):
    """Signs as reactions of ours: `add` puts an emoji on a message, `remove` takes it off or says that it may not."""

    def __init__(
        self,
        emoji: Mapping[Sign, str],
        add: Callable[[Where, str], Awaitable[object]],
        remove: Callable[[Where, str], Awaitable[bool]],
    ) -> None:
        self._emoji = emoji
        self._passing = [emoji[sign] for sign in PASSING]
        self._add = add
        self._remove = remove
        self._shown: LRUCache[Where, set[str]] = LRUCache(SHOWN_KEPT)

    async def show(self, where: Where, sign: Sign) -> None:
        """Show a sign, then take away those that are no longer so. Raises what `add` and `remove` raise."""
        shown = self._shown.setdefault(where, set())
        wanted = self._emoji[sign]
        if wanted not in shown:
            await self._add(where, wanted)
            shown.add(wanted)
        for old in [name for name in self._passing if name in shown and name != wanted]:
            if await self._remove(where, old):
                shown.discard(old)
