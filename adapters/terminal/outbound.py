"""Replies as lines of a terminal; pure. Nothing that code printed can move the cursor: bot.text took that out."""

from __future__ import annotations

from collections.abc import Iterator

from bot.model import Block, Code, File, Notice, Picture, Printed, Reply, Text
from bot.text import printable, size_words

MARKS = {"info": "·", "warning": "!", "error": "✗"}


def lines(reply: Reply) -> Iterator[str]:
    """A reply, line by line."""
    for block in reply.blocks:
        yield from _block(block)


def _block(block: Block) -> Iterator[str]:
    match block:
        case Text():
            yield from printable(block.markdown).rstrip().split("\n")
        case Code(hidden=True):
            return
        case Code():
            yield f"┌─ {block.language}"
            yield from (f"│ {line}" for line in printable(block.source).rstrip().split("\n"))
            yield "└─"
        case Printed():
            yield from block.text.rstrip("\n").split("\n")
        case Picture():
            yield f"[picture] {block.artifact.name} ({size_words(block.artifact.size)})"
        case File():
            yield f"[file] {block.artifact.name} ({size_words(block.artifact.size)})"
        case Notice():
            yield f"{MARKS[block.level]} {block.text}"
