"""Replies as text of a terminal, and what of it is new; pure. Nothing that code printed can move the cursor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import NamedTuple

from bot.model import Artifact, Block, Code, File, Notice, Picture, Printed, Reply, Text
from bot.text import OUTPUT_CHARS, halves, left_out, printable, size_words

MARKS = {"info": "·", "warning": "!", "error": "✗"}
MORE = "[… it prints more; the end of it comes when the code has ended …]\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Where a file of a reply was saved, or why it was not."""

    path: str = ""
    problem: str = ""


class Change(NamedTuple):
    """What to write. `over`: the line that the cursor is in, where it is to be written anew."""

    text: str
    over: str = ""


@dataclass(slots=True, kw_only=True)
class Growing:
    """One reply as far as it stands on the screen. Where a line cannot be written anew, only whole ones are written."""

    whole_lines: bool
    _shown: str = ""
    _output: str = ""
    _is_quiet: bool = False

    def add(self, reply: Reply, kept: Mapping[str, Kept]) -> Change:
        """What its next form adds; what was printed stays, but for the last line."""
        output = next((block for block in reply.blocks if isinstance(block, Printed)), None)
        if output is not None and not reply.final:
            if output.cut_bytes:
                return self._hush()
            self._output = output.text
        elif output is not None:
            whole = replace(output, text=_gone_on(self._output, output))
            reply = replace(reply, blocks=tuple(whole if block is output else block for block in reply.blocks))
        return self._to(_rendered(reply, kept), final=reply.final)

    def _hush(self) -> Change:
        """Of output that is cut already the end changes with each line: it waits for the last form."""
        if self._is_quiet:
            return Change("")
        self._is_quiet = True
        self._output = self._output[: self._output.rfind("\n") + 1]
        whole = self._shown.rfind("\n") + 1
        over, self._shown = self._shown[whole:], self._shown[:whole]
        return Change(MORE, over)

    def _to(self, now: str, *, final: bool) -> Change:
        if self.whole_lines and not final:
            now = now[: now.rfind("\n") + 1]
        before = self._shown
        if before.startswith(now):
            return Change("")
        self._shown = now
        if now.startswith(before):
            return Change(now[len(before) :])
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, now, strict=False)))
        line = now.rfind("\n", 0, same) + 1
        last = before.rfind("\n") + 1
        if line >= last:
            return Change(now[line:], before[last:])
        return Change("\n" * (last < len(before)) + now[line:])  # a line above has changed, and stays


def _gone_on(here: str, printed: Printed) -> str:
    """Output that was cut in its middle, as it goes on from the beginning that stands here."""
    parts = halves(printed.text, OUTPUT_CHARS)
    if parts is None or not here.startswith(parts[0]):
        return printed.text
    head, tail = parts
    left = printed.cut_bytes - (len(here) - len(head))
    return here.rstrip("\n") + left_out(left) + tail if left > 0 else here + tail[-left:]


def _rendered(reply: Reply, kept: Mapping[str, Kept]) -> str:
    """Whole lines without spaces at their ends, but for the last of a reply that grows.

    Empty lines at a block's beginning are left out: a line under them may be taken back (by \\r), they cannot.
    """
    parts = [printable(_block(block, kept)) for block in reply.blocks]
    parts = ["\n".join(line.rstrip() for line in part.split("\n")).lstrip("\n") for part in parts]
    above = "".join(_whole(part) for part in (parts if reply.final else parts[:-1]))
    if reply.final or not parts:
        return above
    said = parts[-1].rstrip("\n")  # more than one line break at the end waits for what follows it
    return above + (_whole(said) if parts[-1].endswith("\n") else said)


def _whole(text: str) -> str:
    return f"{text.rstrip()}\n" if text.strip() else ""


def _block(block: Block, kept: Mapping[str, Kept]) -> str:
    match block:
        case Text():
            return block.markdown
        case Code(hidden=True):
            return ""
        case Code():
            source = "".join(f"│ {line}\n" for line in printable(block.source).rstrip().split("\n"))
            return f"┌─ {block.language}\n{source}└─\n"
        case Printed():
            return block.text
        case Picture():
            return f"[picture] {_file(block.artifact, kept)}\n"
        case File():
            return f"[file] {_file(block.artifact, kept)}\n"
        case Notice():
            return f"{MARKS[block.level]} {block.text}\n"


def _file(artifact: Artifact, kept: Mapping[str, Kept]) -> str:
    saved = kept.get(artifact.id, Kept())
    words = f"{saved.path or artifact.name} ({size_words(artifact.size)})"
    return f"{words} could not be saved: {saved.problem}" if saved.problem else words
