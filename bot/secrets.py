"""Keeps the bot's own secrets out of what it says: whatever a reply is made of, they are blacked out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TypeVar

from bot.model import Block, Code, Notice, Printed, Reply, Text

SHORTEST = 8  # characters; shorter ones are words that texts may have
MASK = "[secret]"
T = TypeVar("T", bound=Block)


class Redactor:
    """Knows the secrets; `reply` is what is posted and kept."""

    def __init__(self, secrets: Iterable[str]) -> None:
        # the longest first, so that one that contains another leaves nothing of itself
        self._secrets = sorted({secret for secret in secrets if len(secret) >= SHORTEST}, key=len, reverse=True)

    def text(self, text: str) -> str:
        """`text` without them."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return text

    def data(self, data: bytes) -> bytes:
        """Bytes of a file without them; a length that changes breaks a picture less than a key that is out."""
        for secret in self._secrets:
            data = data.replace(secret.encode(), MASK.encode())
        return data

    def reply(self, reply: Reply) -> Reply:
        """A reply without them."""
        if not self._secrets:
            return reply
        return replace(reply, blocks=tuple(self._block(block) for block in reply.blocks))

    def _block(self, block: Block) -> Block:
        match block:
            case Text():
                return replace(block, markdown=self.text(block.markdown))
            case Code():
                return replace(block, source=self.text(block.source))
            case Printed() | Notice():
                return replace(block, text=self.text(block.text))
            case _:
                return block
