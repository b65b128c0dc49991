"""Replies as Slack messages; pure. Every message keeps within 50 blocks and 9,000 characters of block text."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from adapters.slack.config import CODE_CHARS, HEAD_CHARS, MESSAGE_CHARS, OUTPUT_CHARS, PLAIN_CHARS
from adapters.slack.text import fenceless, harmless, harmless_code, plain
from bot.markdown import closed, fenced, split
from bot.model import Artifact, Code, File, Notice, Picture, Printed, Reply, Text
from bot.text import cut_middle, printable

Json = dict[str, Any]

EVENT_TYPE = "threadbox_reply"
MARKS = {"info": "ℹ️", "warning": "⚠️", "error": "❌"}  # noqa: RUF001 - the sign is meant
STOP, RETRY, RERUN, RESET = "threadbox_stop", "threadbox_retry", "threadbox_rerun", "threadbox_reset"
SHOW_CODE, SHOW_OUTPUT, FEEDBACK = "threadbox_code", "threadbox_output", "threadbox_feedback"
OPEN_FORM = "threadbox_form"
_HALF_MENTION = re.compile(r"<[@#!]?\Z")
FALLBACK_CHARS = 300  # of the text that a notification shows


@dataclass(slots=True)
class Post:
    """One message: blocks, the text for who sees none, and files of ours that go with it."""

    markdown: str
    notices: list[str] = field(default_factory=list)
    buttons: list[Json] = field(default_factory=list)
    thumbs: str = ""
    extra: list[tuple[str, str]] = field(default_factory=list)
    """Name and text of what is too long to show."""
    artifacts: list[Artifact] = field(default_factory=list)

    def blocks(self, *, thumbs: bool = True) -> list[Json]:
        """For a workspace that takes blocks."""
        found: list[Json] = []
        if self.markdown.strip():
            found.append({"type": "markdown", "text": self.markdown})
        found += [{"type": "context", "elements": [{"type": "mrkdwn", "text": note}]} for note in self.notices]
        if self.buttons:
            found.append({"type": "actions", "elements": self.buttons})
        if self.thumbs and thumbs:
            found.append(_thumbs(self.thumbs))
        return found

    def fallback(self) -> str:
        """What a notification shows."""
        words = plain(cut_middle(self.markdown.replace("```", "").strip(), FALLBACK_CHARS)[0])
        return words or (self.notices[0] if self.notices else "Threadbox")

    def plain(self) -> str:
        """All of it, for a workspace that takes no blocks."""
        text = "\n".join([plain(self.markdown), *self.notices]).strip()
        return split(text, PLAIN_CHARS)[0] if text else "…"


def post(reply: Reply) -> Post:
    """A reply as a message."""
    made = Post(markdown="")
    parts: list[str] = []
    for block in reply.blocks:
        match block:
            case Text():
                parts.append(_text(block.markdown, made))
            case Code():
                parts += _code(block, reply, made)
            case Printed():
                parts.append(_printed(block, reply, made))
            case Notice():
                made.notices.append(f"{MARKS[block.level]} {plain(cut_middle(block.text, 2_900)[0])}")
            case Picture() | File():
                made.artifacts.append(block.artifact)
    made.notices = _few(made.notices)
    made.markdown = _bounded("\n\n".join(part for part in parts if part), made)
    _actions(reply, made)
    return made


def _text(markdown: str, made: Post) -> str:
    text = harmless(printable(markdown))
    if len(text) <= MESSAGE_CHARS - 500:
        return text
    made.extra.append(("answer.md", markdown))
    return closed(split(text, HEAD_CHARS)[0]) + "\n\n*The whole answer is in the file answer.md.*"


def _code(code: Code, reply: Reply, made: Post) -> list[str]:
    shown, cut = cut_middle(printable(code.source), CODE_CHARS)
    if (cut or code.hidden) and reply.final:
        made.buttons.append(_button(SHOW_CODE, "Show code", reply.key))
    return [] if code.hidden else [fenced(harmless_code(shown), _language(code.language))]


def _language(language: str) -> str:
    return {"shell": "bash", "sh": "bash"}.get(language, language)


def _printed(printed: Printed, reply: Reply, made: Post) -> str:
    shown, cut = cut_middle(printed.text, OUTPUT_CHARS)
    if cut and reply.final:
        made.buttons.append(_button(SHOW_OUTPUT, "Show all output", reply.key))
    return fenced(harmless_code(shown)) if shown.strip() else ""


def _few(notices: list[str]) -> list[str]:
    return [*notices[:9], f"… and {len(notices) - 9} more"] if len(notices) > 10 else notices


def _bounded(markdown: str, made: Post) -> str:
    """Code, output and notices together may still be too long for one message."""
    room = MESSAGE_CHARS - sum(len(note) for note in made.notices) - 300
    return markdown if len(markdown) <= room else closed(split(markdown, max(room - 20, 500))[0])


def _actions(reply: Reply, made: Post) -> None:
    if not reply.final:
        made.buttons.append(_button(STOP, "Stop", reply.turn_id, style="danger"))
        return
    if "retry" in reply.actions:
        made.buttons.append(_button(RETRY, "Try again", reply.turn_id, style="primary"))
    if "rerun" in reply.actions:
        made.buttons.append(_button(RERUN, "Re-run", reply.turn_id))
    if "reset" in reply.actions:
        made.buttons.append(_button(RESET, "Reset sandbox", reply.turn_id, confirm=True))
    if "feedback" in reply.actions:
        made.thumbs = reply.turn_id


def _button(action: str, label: str, value: str, *, style: str = "", confirm: bool = False) -> Json:
    button: Json = {
        "type": "button",
        "action_id": action,
        "text": {"type": "plain_text", "text": label},
        "value": value,
    }
    if style:
        button["style"] = style
    if confirm:
        button["confirm"] = {
            "title": {"type": "plain_text", "text": "Reset the sandbox?"},
            "text": {"type": "plain_text", "text": "The variables and files of this thread are thrown away."},
            "confirm": {"type": "plain_text", "text": "Reset"},
            "deny": {"type": "plain_text", "text": "Keep"},
        }
    return button


def _thumbs(turn_id: str) -> Json:
    return {
        "type": "context_actions",
        "elements": [
            {
                "type": "feedback_buttons",
                "action_id": FEEDBACK,
                "positive_button": {
                    "text": {"type": "plain_text", "text": "Good answer"},
                    "value": f"1 {turn_id}",
                },
                "negative_button": {
                    "text": {"type": "plain_text", "text": "Bad answer"},
                    "value": f"-1 {turn_id}",
                },
            }
        ],
    }


def metadata(reply: Reply) -> Json:
    """What a message of ours carries, so that it can be found again."""
    return {"event_type": EVENT_TYPE, "event_payload": {"key": reply.key}}


def key_of(message: Json) -> str | None:
    """The key that a message of ours carries."""
    found = message.get("metadata") or {}
    if found.get("event_type") != EVENT_TYPE:
        return None
    return str((found.get("event_payload") or {}).get("key", ""))


def growing(reply: Reply) -> str:
    """A reply as text that only gets longer while it grows: for a stream. What is final has all of it."""
    parts: list[str] = []
    for block in reply.blocks:
        match block:
            case Text():
                parts.append(harmless(printable(block.markdown)))
            case Code() if not block.hidden:
                parts.append(fenced(harmless_code(printable(block.source)), _language(block.language)) + "\n")
            case Printed() if block.text.strip():
                # what may yet become a mention is broken up as one, and comes when the next character is known
                text = block.text if reply.final else _HALF_MENTION.sub("", block.text)
                parts.append(f"`````\n{fenceless(text)}" + ("\n`````" if reply.final else ""))
            case _:
                pass
    return "\n".join(parts)


def task(reply: Reply) -> Json | None:
    """A cell as an entry of the live task list; None for words."""
    code = next((block for block in reply.blocks if isinstance(block, Code)), None)
    if code is None:
        return None
    line = next((line.strip() for line in printable(code.source).splitlines() if line.strip()), "code")
    failed = any(isinstance(block, Notice) and block.level != "info" for block in reply.blocks)
    status = ("error" if failed else "complete") if reply.final else "in_progress"
    line = "its code" if code.hidden else harmless_code(line)
    title = f"Run {code.language or 'code'}: {line}"
    return {"type": "task_update", "id": reply.key, "title": title[:120], "status": status}


def with_form_button(words: str, thread: str) -> list[Json]:
    """How the options of a thread stand, and the way to change them."""
    return [
        {"type": "markdown", "text": harmless(words)},
        {"type": "actions", "elements": [_button(OPEN_FORM, "Change…", thread)]},
    ]


def ephemeral_rerun(turn_id: str) -> list[Json]:
    """The offer after a message that ran was changed."""
    words = "You changed a message that I had answered. The answer is to the old one."
    return [
        {"type": "section", "text": {"type": "plain_text", "text": words}},
        {"type": "actions", "elements": [_button(RERUN, "Run the new one", turn_id, style="primary")]},
    ]
