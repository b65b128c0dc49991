"""What becomes of a rich value that a cell shows: a picture, a page that is kept as a file, or text."""

from __future__ import annotations

import json

from bot.text import valid_text
from sandbox import Display

INDENTED_CHARS = 4_000  # of JSON: a line for each value, as deep as it lies, makes many times as much of it
PICTURES = ("image/png", "image/jpeg")
ENDINGS = {"image/png": "png", "image/jpeg": "jpeg", "image/svg+xml": "svg", "text/html": "html"}
NAMES = {"image/png": "figure", "image/jpeg": "figure", "image/svg+xml": "drawing", "text/html": "page"}


def kept_as(display: Display) -> str | None:
    """The mime type under which bytes of it are kept; None where its text says it all.

    Tables have HTML too, and read better as text; what has no more to say than its address in memory does not.
    """
    for mime in (*PICTURES, "image/svg+xml"):
        if mime in display.bundle:
            return mime
    has_words = bool({"text/markdown", "application/json"} & set(display.bundle)) or not _is_bare(_plain(display))
    return "text/html" if "text/html" in display.bundle and not has_words else None


def as_text(display: Display) -> str:
    """Its text, Markdown and JSON in their own form; whatever is in it, text that can be kept and sent."""
    return valid_text(_own_form(display))


def _own_form(display: Display) -> str:
    if "text/markdown" in display.bundle:
        return display.bundle["text/markdown"].decode("utf-8", "replace")
    if "application/json" in display.bundle:
        text = display.bundle["application/json"].decode("utf-8", "replace")
        if len(text) > INDENTED_CHARS:
            return text
        try:
            return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
        except (ValueError, RecursionError):
            return text
    return _plain(display)


def _plain(display: Display) -> str:
    return display.bundle.get("text/plain", b"").decode("utf-8", "replace")


def _is_bare(text: str) -> bool:
    """Whether it is the name of an object, as in <IPython.core.display.HTML object>, and nothing else."""
    return not text.strip() or (text.startswith("<") and text.endswith(">") and "\n" not in text)
