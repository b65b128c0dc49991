"""Pure work on text: code fences, control characters, cutting in the middle."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

OUTPUT_CHARS = 8_000  # of one cell's output in a reply; all of it comes as a file then
STOPPING = "Stopping."
NOTHING_RUNS = "Nothing is running here."
LOST_SANDBOX = "The sandbox is gone, and with it what was not saved of the variables and files"

# an opening fence may follow words on its line, as people write it in a chat; a closing one stands alone
_OPENING = re.compile(r"(?:^|[^`~])(?P<fence>`{3,}|~{3,})[ \t]*(?P<language>[\w+-]*)[ \t]*$")
_INLINE_FENCE = re.compile(r"```(?:(?P<language>python3?|py|bash|sh|shell)\s)?(?P<code>[^`].*?)```", re.S)
# CSI and OSC sequences, then any other escape; ECMA-48 section 5.4
_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-Z\\-_]?")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_LEFT_OUT = re.compile(r"\n\[… [\d,]+ characters left out …\]\n")


class CodeBlock(NamedTuple):
    """Code in a message; `language` is lower case, python where none is named."""

    language: str
    code: str


def code_blocks(text: str) -> list[CodeBlock]:
    """The fenced blocks of a message, in order; a fence on one line counts too."""
    found = list(_fenced(text.splitlines()))
    if not found:
        found = [
            CodeBlock((match["language"] or "python").lower(), match["code"]) for match in _INLINE_FENCE.finditer(text)
        ]
    return found


def _fenced(lines: list[str]) -> Iterator[CodeBlock]:
    opening: re.Match[str] | None = None
    code: list[str] = []
    for line in lines:
        if opening is None:
            opening, code = _OPENING.search(line), []
        elif line.rstrip() == opening["fence"]:
            yield CodeBlock((opening["language"] or "python").lower(), "".join(f"{part}\n" for part in code))
            opening = None
        else:
            code.append(line)


def in_code_block(text: str) -> bool:
    """Whether `text` ends within a fenced block that it has opened."""
    fence = ""
    for line in text.splitlines():
        if not fence:
            opening = _OPENING.search(_INLINE_FENCE.sub("", line))
            fence = opening["fence"] if opening is not None else ""
        elif line.rstrip() == fence:
            fence = ""
    return bool(fence)


def title_of(text: str, most: int) -> str:
    """The first line of a message that says something, for a list; empty when there is none."""
    lines = (line.strip() for line in text.splitlines())
    return next((line[:most] for line in lines if line and not line.startswith(("```", "~~~"))), "")


def printable(text: str) -> str:
    """Output as it can be shown: no ANSI, no control or direction characters, overwritten lines resolved."""
    text = _ANSI.sub("", text).replace("\r\n", "\n")
    text = "\n".join(line.rstrip("\r").rsplit("\r", 1)[-1] for line in text.split("\n"))
    return _CONTROLS.sub("\ufffd", text)


def valid_text(text: str) -> str:
    """`text` without lone surrogates: JSON may carry them, UTF-8 cannot, and they would break a page for good."""
    return text.encode("utf-8", "replace").decode()


def cut_middle(text: str, limit: int, *, before: int = 0) -> tuple[str, int]:
    """`text` in at most about `limit` characters, head and tail kept, and how many were left out.

    `before`: so many had been left out of its middle already, which the line where it was says too.
    """
    if len(text) <= limit:
        return text, 0
    half = limit // 2
    count = len(text) - 2 * half
    return f"{text[:half]}{left_out(count + before)}{text[-half:]}", count


def left_out(count: int) -> str:
    """The line where the middle of a text was."""
    return f"\n[… {count:,} characters left out …]\n"


def halves(text: str, limit: int) -> tuple[str, str] | None:
    """Head and tail of what `cut_middle` cut; None for a text that it left whole."""
    half = limit // 2
    mark = _LEFT_OUT.match(text, half)
    return (text[:half], text[mark.end() :]) if mark is not None else None


def within_bytes(text: str, limit: int) -> tuple[str, bool]:
    """`text` in at most `limit` bytes of UTF-8, head and tail kept, no character cut in two; and whether it was cut."""
    data = text.encode("utf-8", "replace")
    if len(data) <= limit:
        return data.decode(), False
    gap = "\n[…]\n"
    half = (limit - len(gap.encode())) // 2
    return f"{data[:half].decode(errors='ignore')}{gap}{data[-half:].decode(errors='ignore')}", True


def file_name(path: str, longest: int = 100) -> str:
    """The last part of a path that hostile code chose, fit for a person's disk and for a header."""
    name = re.sub(r"[^\w.() +-]", "_", path.rsplit("/", 1)[-1]).strip(". ")
    stem, dot, suffix = name.rpartition(".")
    if len(name) > longest:
        name = f"{stem[: longest - len(suffix) - 1]}{dot}{suffix}"[:longest]
    return name or "file"


def size_words(count: int) -> str:
    """A size as people say it."""
    size = float(count)
    for unit in ("B", "KB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
