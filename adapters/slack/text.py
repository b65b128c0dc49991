"""Text between Slack and us; pure. What goes out can notify nobody and hide no link."""

from __future__ import annotations

import re

from bot.markdown import ZERO_WIDTH, honest_links, link

# what Slack makes a notification of: https://docs.slack.dev/messaging/formatting-message-text
_NOTIFIES = re.compile(r"<(?=[@#!][A-Za-z0-9])")
_BARE = re.compile(r"(?<![\w/])@(?=(?:channel|here|everyone)\b)", re.IGNORECASE)
_LABELLED = re.compile(r"<((?:https?|mailto|tel|slack):[^|>\s]*)\|([^>]*)>")
_FOUR_TICKS = re.compile(r"`{4}(?=`)")

_TOKEN = re.compile(r"<([^<>\n]+)>")


def harmless(markdown: str) -> str:
    """Markdown of a model's or a program's: mentions do not notify, and a link's label is not another address."""
    markdown = honest_links(_LABELLED.sub(lambda match: link(match[2], match[1]), markdown))
    markdown = _NOTIFIES.sub(f"<{ZERO_WIDTH}", markdown)  # last: what was taken apart may have come together
    return _BARE.sub(f"@{ZERO_WIDTH}", markdown)


def harmless_code(text: str) -> str:
    """Code or output for a fence, where nothing is a link: only what would notify somebody is broken up."""
    return _NOTIFIES.sub(f"<{ZERO_WIDTH}", text)


def fenceless(text: str) -> str:
    """Output for a fence of five that is still open: nothing in it can close that."""
    return _FOUR_TICKS.sub(f"````{ZERO_WIDTH}", harmless_code(text))


def plain(text: str) -> str:
    """Text for a field that Slack reads as mrkdwn."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _BARE.sub(f"@{ZERO_WIDTH}", escaped)


def said(text: str, bot_id: str) -> str:
    """What a person wrote, as they saw it: our mention taken out, links and names as words."""
    text = re.sub(rf"\s*<@{re.escape(bot_id)}(?:\|[^>]*)?>[:,]?[ \t]*", " ", text) if bot_id else text
    text = _TOKEN.sub(lambda match: _token(match[1]), text)
    return unescaped(text).strip()


def unescaped(text: str) -> str:
    """Slack's three entities as the characters they stand for."""
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _token(inside: str) -> str:
    target, _, label = inside.partition("|")
    match target[:1]:
        case "@" | "#":
            return target[0] + (label or target[1:])
        case "!":
            return label or "@" + target[1:].partition("^")[0]
        case _:
            return target.removeprefix("mailto:") if "://" in target or target.startswith("mailto:") else f"<{inside}>"


def mentions(text: str) -> list[str]:
    """The ids of the people whom a text mentions, in order."""
    return re.findall(r"<@([UW][A-Z0-9]+)(?:\|[^>]*)?>", text)
