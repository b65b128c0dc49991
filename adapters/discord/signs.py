"""Signs on people's messages: reactions of ours."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

import structlog

from adapters.discord.calls import Calls, DiscordRefused
from adapters.discord.config import DIRECT, STATES_KEPT
from adapters.discord.places import Places
from bot.model import IncomingMessage, ThreadKey
from bot.ports import Sign
from bot.signs import SignQueue

log = structlog.get_logger()

EMOJI: dict[Sign, str] = {
    "seen": "👀",
    "queued": "⏳",
    "working": "👀",
    "done": "✅",
    "failed": "❌",
    "stopped": "🛑",
}
PASSING = ("⏳", "✅", "❌", "🛑")


class Where(NamedTuple):
    """A message."""

    key: ThreadKey
    message_id: str
    in_thread: bool


class Signs:
    """`want` returns at once."""

    def __init__(self, calls: Calls, places: Places) -> None:
        self._calls = calls
        self._places = places
        self._queue = SignQueue(self._show)
        self._shown: OrderedDict[Where, set[str]] = OrderedDict()

    def want(self, message: IncomingMessage, sign: Sign) -> None:
        """Show how a message's turn stands."""
        self._queue.want(Where(message.key, message.message_id, message.in_thread), sign)

    async def run(self) -> None:
        """Show what is wanted, until cancelled."""
        await self._queue.run()

    async def _show(self, where: Where, sign: Sign) -> None:
        shown = self._shown.setdefault(where, set())
        while len(self._shown) > STATES_KEPT:
            self._shown.popitem(last=False)
        emoji = EMOJI[sign]
        try:
            channel, message = await self._channel(where), int(where.message_id)
            if emoji not in shown:
                await self._calls.react(channel, message, emoji)
                shown.add(emoji)
            for old in [name for name in PASSING if name in shown and name != emoji]:
                await self._calls.react(channel, message, old, on=False)
                shown.discard(old)
        except (DiscordRefused, ConnectionError) as error:  # the message is gone, or we may not react
            log.info("discord.sign_failed", sign=sign, error=str(error))

    async def _channel(self, where: Where) -> int:
        """A thread's first message is in the channel, but for a forum post's, before which nobody had spoken."""
        key = where.key
        if key.workspace == DIRECT:
            return int(key.channel)
        if where.message_id == key.thread:
            return int(key.channel if where.in_thread else key.thread)
        return (await self._places.of(key)).channel
