"""An outbox with one reply that was not posted for sure."""

from __future__ import annotations

from bot.model import Reply, ThreadKey


class GivenUp:
    """What `Redelivery` asks of one."""

    def __init__(self, reply: Reply, key: ThreadKey) -> None:
        self._left = [(key, reply)]

    async def undelivered(self, limit: int, **which: object) -> list[tuple[ThreadKey, Reply]]:
        return self._left[:limit]

    async def posted(self, reply: Reply, message_id: str) -> None:
        self._left.clear()
