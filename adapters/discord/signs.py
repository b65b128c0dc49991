"""Signs on people's messages: reactions of ours."""

from __future__ import annotations

from typing import NamedTuple

import structlog

from adapters.discord.calls import Calls, DiscordRefused
from adapters.discord.config import DIRECT
from adapters.discord.places import Places
from bot.model import IncomingMessage, ThreadKey
from bot.ports import Sign
from bot.signs import Reactions, SignQueue

log = structlog.get_logger()

EMOJI: dict[Sign, str] = {
    "seen": "👀",
    "queued": "⏳",
    "working": "👀",
    "done": "✅",
    "failed": "❌",
    "stopped": "🛑",
}


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
        self._reactions = Reactions(EMOJI, self._add, self._remove)

    def want(self, message: IncomingMessage, sign: Sign) -> None:
        """Show how a message's turn stands."""
        self._queue.want(Where(message.key, message.message_id, message.in_thread), sign)

    async def run(self) -> None:
        """Show what is wanted, until cancelled."""
        await self._queue.run()

    async def _show(self, where: Where, sign: Sign) -> None:
        try:
            await self._reactions.show(where, sign)
        except (DiscordRefused, ConnectionError) as error:  # the message is gone, or we may not react
            log.info("discord.sign_failed", sign=sign, error=str(error))

    async def _add(self, where: Where, emoji: str) -> None:
        await self._calls.react(await self._channel(where), int(where.message_id), emoji)

    async def _remove(self, where: Where, emoji: str) -> bool:
        await self._calls.react(await self._channel(where), int(where.message_id), emoji, on=False)
        return True

    async def _channel(self, where: Where) -> int:
        """A thread's first message is in the channel, but for a forum post's, before which nobody had spoken."""
        key = where.key
        if key.workspace == DIRECT:
            return int(key.channel)
        if where.message_id == key.thread:
            return int(key.channel if where.in_thread else key.thread)
        return (await self._places.of(key)).channel
