"""Markdown for chats: fences that cannot be closed from inside, and texts in pieces whose fences are whole; pure."""

from __future__ import annotations

import re

LONGEST_FENCE = 8
"""Characters. A longer run opens nothing here: what has to be said again in each piece must leave room for the rest."""
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})[ \t]*([\w+-]{0,16})")
_RUN = re.compile(r"`{3,}")
_TOO_LONG = re.compile("`" * (LONGEST_FENCE - 1) + "(?=`)")

ZERO_WIDTH = "\u200b"
_LINK = re.compile(r"(!?)\[([^\]\n]*)\]\(\s*<?([^)\s>]*)>?(?:\s+[^)]*)?\)")
_REFERENCE = re.compile(r"^( {0,3}\[[^\]\n]+\]):", re.MULTILINE)
_LOOKS_LIKE_ADDRESS = re.compile(r"\b[\w-]+(?:\.[\w-]+)*\.[a-z]{2,}\b", re.IGNORECASE)


def honest_links(markdown: str) -> str:
    """Markdown in which no link's label is another address, and no image is fetched by being shown."""
    markdown = _LINK.sub(lambda match: link(match[2], match[3]), markdown)
    return _REFERENCE.sub(rf"\1{ZERO_WIDTH}:", markdown)  # [label][1] would hide where it leads


def link(label: str, url: str) -> str:
    """A link; what its label hides is said beside it."""
    if _LOOKS_LIKE_ADDRESS.search(label) and label.strip("/ ") not in url:
        return f"{label} ({url})"
    return f"[{label}]({url})" if label else url


def fenced(text: str, language: str = "") -> str:
    """`text` in a fence that is longer than any within; runs of backticks that no fence could hold are broken up."""
    text = _TOO_LONG.sub(rf"\g<0>{ZERO_WIDTH}", text)
    ticks = "`" * max(3, *(len(run) + 1 for run in _RUN.findall(text)), 3)
    return f"{ticks}{language}\n{text.rstrip()}\n{ticks}"


def open_fence(text: str) -> tuple[str, str] | None:
    """The fence that is open at the end of `text`, with its language."""
    open_one: tuple[str, str] | None = None
    for line in text.split("\n"):
        match = _FENCE.match(line)
        if match is None:
            continue
        if open_one is None:
            open_one = (match[1], match[2]) if len(match[1]) <= LONGEST_FENCE else None
        elif match[1].startswith(open_one[0]) and not line.strip(" `~\t"):
            open_one = None
    return open_one


def closed(text: str) -> str:
    """`text` with a fence at its end that was left open closed."""
    left = open_fence(text)
    return f"{text.rstrip()}\n{left[0]}" if left is not None else text


def split(text: str, limit: int) -> list[str]:
    """`text` in pieces of at most `limit` characters, at ends of lines where there are some.

    A fence that a cut goes through is closed before it and opened again after it. `limit` is at least 60.
    """
    pieces: list[str] = []
    rest = text
    while len(rest) > limit:
        room = limit
        while True:
            cut = _cut(rest, room)
            left = open_fence(rest[:cut])
            piece = closed(rest[:cut])
            if len(piece) <= limit:
                break
            room = cut - (len(piece) - limit)
        pieces.append(piece.rstrip("\n") if left is None else piece)
        rest = rest[cut:].removeprefix("\n")
        if left is not None:
            rest = f"{left[0]}{left[1]}\n{rest}"
    if rest.strip():
        pieces.append(rest)
    return pieces


def _cut(text: str, room: int) -> int:
    """Where to cut at `room` characters or before: after a paragraph, a line, a word, or anywhere."""
    for mark in ("\n\n", "\n", " "):
        found = text.rfind(mark, room // 2, room)
        if found > 0:
            return found + (mark == " ")
    return room
