"""Replies as Discord messages; pure. Every message keeps within 2,000 characters, ten files and five buttons."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Literal

from adapters.discord.config import CODE_LINES, FILES_MOST, MESSAGE_CHARS, NOTICES_MOST, OUTPUT_LINES, PARTS_MOST
from adapters.discord.text import fenced, plain, shortened, shown, small, without_fences
from bot.markdown import closed, split
from bot.model import Artifact, Code, File, Notice, Picture, Printed, Reply, Text
from bot.text import printable
from bot.with_input import LANGUAGES

MARKS = {"info": "ℹ️", "warning": "⚠️", "error": "❌"}  # noqa: RUF001 - the sign is meant
STOP, RETRY, RERUN, RESET, DELETE = "stop", "retry", "rerun", "reset", "delete"
SHOW_CODE, SHOW_OUTPUT, INPUT, GOOD, BAD, OPTION = "code", "output", "input", "good", "bad", "option"
CARD = "💭 I am at it…"
PREFIX = "tb"
OF_MESSAGE = "m"  # before the id of a person's message: what a card is about

Style = Literal["secondary", "primary", "danger"]


@dataclass(frozen=True, slots=True)
class Button:
    """A button; what it is about is the stable key of its reply."""

    action: str
    label: str
    key: str
    style: Style = "secondary"
    row: int = 0

    @property
    def custom_id(self) -> str:
        """What Discord sends back when it is pressed, after a restart too."""
        return custom_id(self.action, self.key)


@dataclass(slots=True)
class Part:
    """One message: its text, artifacts, and texts that go along as files."""

    content: str = ""
    artifacts: list[Artifact] = field(default_factory=list)
    texts: list[tuple[str, str]] = field(default_factory=list)


@dataclass(slots=True)
class Post:
    """A reply as one message or several; the buttons are under the first."""

    parts: list[Part]
    buttons: list[Button]
    awaits: bool = False
    """Whether it goes on only when the requester does something."""


def custom_id(action: str, key: str) -> str:
    """The name of a button, at most 100 characters."""
    return f"{PREFIX}:{action}:{key}"[:100]


def pressed(name: str) -> tuple[str, str] | None:
    """Action and key of a button of ours; None for any other."""
    prefix, _, rest = name.partition(":")
    action, _, key = rest.partition(":")
    return (action, key) if prefix == PREFIX and action else None


def card_button(message_id: str) -> Button:
    """The Stop of the card for a person's message."""
    return Button(STOP, "Stop", OF_MESSAGE + message_id, "danger")


def message_of(key: str) -> str | None:
    """The person's message that a card is about; None for the button of a reply."""
    return key.removeprefix(OF_MESSAGE) if key.startswith(OF_MESSAGE) else None


def turn_of(key: str) -> str:
    """The turn of a reply's key."""
    return key.rpartition(".")[0]


def nonce(key: str) -> str:
    """What tells Discord that two posts are the same one; at most 25 characters."""
    return blake2b(key.encode(), digest_size=12).hexdigest()


def post(reply: Reply) -> Post:
    """A reply as messages."""
    buttons: list[Button] = []
    content = "\n".join(piece for piece in _pieces(reply, buttons) if piece)
    artifacts = [block.artifact for block in reply.blocks if isinstance(block, Picture | File)]
    if not reply.final:
        stop = Button(STOP, "Stop", reply.key, "danger")
        return Post([Part(_head(content).strip() or CARD)], [stop])
    # Discord takes blank lines off both ends
    parts = [Part(text.strip()) for text in split(content, MESSAGE_CHARS) if text.strip()]
    if len(parts) > PARTS_MOST:
        whole = "\n\n".join(block.markdown for block in reply.blocks if isinstance(block, Text))
        words = "\n*The whole answer is in the file answer.md.*"
        parts = [Part(closed(split(content, MESSAGE_CHARS - len(words) - 10)[0]) + words)]
        parts[0].texts.append(("answer.md", whole))
    parts = parts or [Part()]
    _with_files(parts, artifacts)
    if not parts[0].content and not parts[0].artifacts:
        parts[0].content = "-# Done; there is nothing to show."
    _actions(reply, buttons)
    return Post(parts, buttons, awaits="retry" in reply.actions)


def _head(content: str) -> str:
    """What is shown of a reply that grows."""
    return content if len(content) <= MESSAGE_CHARS else closed(split(content, MESSAGE_CHARS - 10)[0]) + " …"


def _with_files(parts: list[Part], artifacts: list[Artifact]) -> None:
    """Files under the last text; more than ten in messages of their own."""
    room = FILES_MOST - len(parts[-1].texts)
    parts[-1].artifacts += artifacts[:room]
    for start in range(room, len(artifacts), FILES_MOST):
        parts.append(Part(artifacts=artifacts[start : start + FILES_MOST]))


def _pieces(reply: Reply, buttons: list[Button]) -> list[str]:
    texts = [shown(printable(block.markdown)) for block in reply.blocks if isinstance(block, Text)]
    notices = [
        small(f"{MARKS[block.level]} {block.text}") if block.level != "error" else f"❌ {plain(block.text)}"
        for block in reply.blocks
        if isinstance(block, Notice)
    ]
    if len(notices) > NOTICES_MOST:
        notices = [*notices[: NOTICES_MOST - 1], small(f"… and {len(notices) - NOTICES_MOST + 1} more")]
    code = next((block for block in reply.blocks if isinstance(block, Code)), None)
    printed = next((block for block in reply.blocks if isinstance(block, Printed)), None)
    room = MESSAGE_CHARS - sum(len(notice) + 1 for notice in notices) - 60
    return [*texts, *_cell(reply, code, printed, room, buttons), *notices]


def _cell(reply: Reply, code: Code | None, printed: Printed | None, room: int, buttons: list[Button]) -> list[str]:
    """Code and output in `room` characters; each may use what the other leaves."""
    source = _unfenced(code.source) if code is not None and not code.hidden else ""
    output = _unfenced(printed.text) if printed is not None and printed.text.strip() else ""
    half = max(room // 2, 200)
    source, code_cut = shortened(source, max(half, room - len(output)), CODE_LINES)
    output, output_cut = shortened(output, max(200, room - len(source)), OUTPUT_LINES)
    if reply.final and code is not None:
        if code.language in LANGUAGES:
            buttons.append(Button(INPUT, "Run with input…", reply.key))
        if code_cut or code.hidden:
            buttons.append(Button(SHOW_CODE, "Show code", reply.key))
    if reply.final and output_cut:
        buttons.append(Button(SHOW_OUTPUT, "Show all output", reply.key))
    language = {"shell": "bash", "sh": "bash"}.get(code.language, code.language) if code is not None else ""
    return [fenced(source, language) if source else "", fenced(output) if output else ""]


def _unfenced(text: str) -> str:
    """Broken up here already, so that it is measured as it will be shown."""
    return without_fences(printable(text).rstrip())


def _actions(reply: Reply, buttons: list[Button]) -> None:
    """What people may do about the whole answer, in a row of its own."""
    if "retry" in reply.actions:
        buttons.append(Button(RETRY, "Try again", reply.key, "primary"))
    if "rerun" in reply.actions:
        buttons.append(Button(RERUN, "Re-run", reply.key, row=1))
    if "reset" in reply.actions:
        buttons.append(Button(RESET, "Reset", reply.key, row=1))
    if reply.actions:
        buttons.append(Button(DELETE, "Delete", reply.key, row=1))
    if "feedback" in reply.actions:
        buttons += [Button(GOOD, "👍", reply.key, row=1), Button(BAD, "👎", reply.key, row=1)]
