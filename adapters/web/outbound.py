"""Replies and messages as HTML; pure. Everything that people, models and code wrote is escaped or sealed off.

Markdown is rendered without raw HTML and without images (an image would call out to its host); HTML and SVG files
are shown only inside <iframe sandbox>, from an address that forbids scripts.
"""

from __future__ import annotations

from datetime import datetime
from functools import cache, lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name

from adapters.web.config import RENDERED_KEPT
from bot.model import Block, IncomingMessage, Reply, ThreadKey
from bot.text import size_words
from bot.views import Entry

SEALED = {"text/html", "image/svg+xml"}
SAFE_IMAGES = {"image/png", "image/jpeg", "image/gif", "image/webp"}
STATUS_WORDS = {
    "seen": "queued",
    "joined": "done",
    "queued": "queued",
    "working": "working",
    "running": "working",
    "done": "done",
    "failed": "failed",
    "stopped": "stopped",
}

# Pygments has 500 more, whose patterns hostile text could choose among; Markdown's leads on to any of them
COLOURED = {
    "python", "py", "python3", "pycon", "bash", "sh", "shell", "console", "json", "sql", "html", "xml", "css", "diff",
    "javascript", "js", "typescript", "ts", "yaml", "toml", "ini", "r", "julia", "c", "cpp", "java", "go", "rust",
}  # fmt: skip
_formatter = HtmlFormatter(nowrap=True)


@lru_cache(RENDERED_KEPT)
def code_html(source: str, language: str) -> Markup:
    """Code with classes for its colours."""
    name = language.lower()
    lexer = get_lexer_by_name(name if name in COLOURED else "text", stripnl=False)
    return Markup(highlight(source, lexer, _formatter))  # noqa: S704 - Pygments escapes


def _markdown() -> MarkdownIt:
    parser = MarkdownIt(
        "commonmark", {"html": False, "linkify": True, "highlight": lambda code, name, _: str(code_html(code, name))}
    )
    parser.enable(["table", "strikethrough", "linkify"]).disable("image")

    def link(self: Any, tokens: Any, index: int, options: Any, env: Any) -> str:
        tokens[index].attrSet("rel", "noopener noreferrer nofollow")
        tokens[index].attrSet("target", "_blank")
        return str(self.renderToken(tokens, index, options, env))

    parser.add_render_rule("link_open", link)
    return parser


_parser = _markdown()


@lru_cache(RENDERED_KEPT)
def markdown_html(text: str) -> Markup:
    """Markdown as HTML; what looks like HTML in it is shown as text."""
    return Markup(_parser.render(text))  # noqa: S704 - html is off


def kind(block: Block) -> str:
    """The name of a block for a template."""
    return type(block).__name__.lower()


def clock(moment: datetime) -> str:
    """A time of day in UTC; the page's script makes it local."""
    return moment.isoformat(timespec="seconds")


@cache
def templates() -> Environment:
    """The pages and their parts, compiled once in a process; nobody changes it."""
    environment = Environment(
        loader=PackageLoader("adapters.web"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {
        "code": code_html, "markdown": markdown_html, "kind": kind, "bytes": size_words, "clock": clock,
    }  # fmt: skip
    environment.globals |= {"sealed": SEALED, "safe_images": SAFE_IMAGES, "status_words": STATUS_WORDS}
    return environment


class Html:
    """The parts of a thread's page that change while it is open, each an element with an id of its own."""

    def __init__(self, environment: Environment) -> None:
        module = environment.get_template("parts.html").module
        self._parts: Any = module

    def entry(self, entry: Entry, *, again: bool) -> str:
        """A message and its replies; `again` when the message was shown already, for another turn of it."""
        message = "" if again else self.message(entry.message, entry.status)
        return message + "".join(self.reply(reply, entry.message.key) for reply in entry.replies)

    def message(self, message: IncomingMessage, status: str | None) -> str:
        """What somebody said."""
        return str(self._parts.message(message, status))

    def status(self, message: IncomingMessage, sign: str) -> str:
        """How the turn of a message stands."""
        return str(self._parts.status(message.message_id, sign))

    def reply(self, reply: Reply, key: ThreadKey) -> str:
        """One reply of ours."""
        return str(self._parts.reply(reply, key))

    def left_out(self, shown: int, *, offer: bool) -> str:
        """The line above the newest entries; with `offer` there are more to be had."""
        return str(self._parts.left_out(shown, offer))

    def note(self, text: str) -> str:
        """A line that nobody keeps: the answer to a command."""
        return str(self._parts.note(text))
