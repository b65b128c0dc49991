"""Text between Discord and us; pure. What goes out is in the Markdown that Discord knows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import zip_longest

from bot.markdown import ZERO_WIDTH, honest_links
from bot.text import cut_middle

# https://docs.discord.com/developers/reference#message-formatting
_USER = re.compile(r"<@!?(\d{1,20})>")
_ROLE = re.compile(r"<@&(\d{1,20})>")
_CHANNEL = re.compile(r"<#(\d{1,20})>")
_EMOJI = re.compile(r"<a?(:\w{1,32}:)\d{1,20}>")

_TICKS = re.compile(r"`{3,}")
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})[ \t]*([\w+#.-]*)[ \t]*$")
_IN_A_LINE = re.compile(r"(?<!`)```([^`\n]+)```(?!`)")
_RULE = re.compile(r"^ {0,3}([-*_])[ \t]*(?:\1[ \t]*){2,}$")
_DEEP_HEADING = re.compile(r"^ {0,3}#{4,6}[ \t]+(.*?)[ \t#]*$")
_DELIMITERS = re.compile(r"^[ \t]*\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$")


def fenced(text: str, language: str = "") -> str:
    """`text` in a fence. Discord ends one at three backticks, wherever and however many there are."""
    return f"```{language}\n{without_fences(text.rstrip())}\n```"


def without_fences(text: str) -> str:
    """`text` in which nothing is taken for the end of a fence."""
    return _TICKS.sub(lambda match: ZERO_WIDTH.join(match[0]), text)


def shown(markdown: str) -> str:
    """Markdown of a model's as Discord can show it: it has no tables, no rules, three headings and one fence."""
    lines = markdown.split("\n")
    done: list[str] = []
    text: list[str] = []
    at = 0
    while at < len(lines):
        fence = _FENCE.match(lines[at])
        if fence is None:
            text.append(lines[at])
            at += 1
            continue
        end = _end_of_fence(lines, at + 1, fence[1])
        done += [*_text(text), fenced("\n".join(lines[at + 1 : end]), fence[2])]
        text = []
        at = end + 1
    return "\n".join([*done, *_text(text)]).strip("\n")


def _end_of_fence(lines: list[str], at: int, ticks: str) -> int:
    while at < len(lines) and not (lines[at].strip().startswith(ticks) and not lines[at].strip(" \t`~")):
        at += 1
    return at


def _text(lines: list[str]) -> list[str]:
    found: list[str] = []
    at = 0
    while at < len(lines):
        if "|" in lines[at] and at + 1 < len(lines) and "|" in lines[at + 1] and _DELIMITERS.match(lines[at + 1]):
            end = next((row for row in range(at + 2, len(lines)) if "|" not in lines[row]), len(lines))
            found.append(_table([lines[at], *lines[at + 2 : end]]))
            at = end
            continue
        if not _RULE.match(lines[at]):
            # three backticks in a line would begin a fence that goes on to the next three, wherever those are
            line = without_fences(_IN_A_LINE.sub(r"`\1`", lines[at]))
            found.append(honest_links(_DEEP_HEADING.sub(r"**\1**", line)))
        at += 1
    return found


def _table(rows: list[str]) -> str:
    cells = [[cell.strip() for cell in row.strip().strip("|").split("|")] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip_longest(*cells, fillvalue="")]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip() for row in cells]
    lines.insert(1, "  ".join("─" * width for width in widths))
    return fenced("\n".join(lines))


def plain(text: str) -> str:
    """One line in which nothing is formatted."""
    return re.sub(r"([\\*_~`|>\[\]#<])", r"\\\1", " ".join(cut_middle(text, 400)[0].split()))


def small(text: str) -> str:
    """The same in small print."""
    return f"-# {plain(text)}"


def shortened(text: str, chars: int, lines: int) -> tuple[str, bool]:
    """`text` in at most `chars` characters and `lines` lines, head and tail kept; whether something was left out."""
    rows = text.split("\n")
    cut = len(rows) > lines
    if cut:
        half = lines // 2
        rows = [*rows[:half], f"[… {len(rows) - 2 * half:,} lines left out …]", *rows[-half:]]
    joined = "\n".join(rows)
    if len(joined) <= chars:
        return joined, cut
    return cut_middle(joined, max(chars - 50, 20))[0], True


def said(text: str, us: frozenset[str], names: Mapping[str, str]) -> str:
    """What a person wrote, as they saw it: mentions of us taken out, people, roles and channels by name."""
    for pattern, mark in ((_USER, "@"), (_ROLE, "@"), (_CHANNEL, "#")):
        text = pattern.sub(lambda match, mark=mark: _name(match, mark, us, names), text)  # type: ignore[misc]
    text = _EMOJI.sub(r"\1", text)
    return re.sub(r"^[ \t]*[:,][ \t]*", "", text.strip()) if us else text.strip()


def _name(match: re.Match[str], mark: str, us: frozenset[str], names: Mapping[str, str]) -> str:
    return "" if match[1] in us else mark + names.get(match[1], match[1])


def without_marks(text: str) -> str:
    """A title: what only Discord's renderer would make a name of is left out."""
    for pattern in (_USER, _ROLE, _CHANNEL, _EMOJI):
        text = pattern.sub("", text)
    return " ".join(text.split())
