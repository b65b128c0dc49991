"""What a browser sends, as messages; pure."""

from __future__ import annotations

import re
from datetime import datetime

from adapters.web.config import CHANNELS, NAME, WORKSPACE
from bot.model import Attachment, IncomingMessage, Person, ThreadKey

_MENTION = re.compile(r"@threadbox\b[:,]?", re.IGNORECASE)
_ID = re.compile(r"[0-9a-f]{12}")


def thread_key(channel: str, thread: str) -> ThreadKey:
    """The thread that an address names. Raises LookupError."""
    if channel not in CHANNELS or _ID.fullmatch(thread) is None:
        raise LookupError(f"{channel}/{thread}")
    return ThreadKey(platform=NAME, workspace=WORKSPACE, channel=channel, thread=thread)


def message(
    key: ThreadKey, text: str, *, message_id: str, person: str, now: datetime, attachments: tuple[Attachment, ...]
) -> IncomingMessage:
    """A posted form as a message; the mention is taken out of its text."""
    mentioned = _MENTION.search(text) is not None
    return IncomingMessage(
        key=key,
        message_id=message_id,
        author=Person(id=person, name="you", is_admin=True),
        text=_MENTION.sub("", text).strip().replace("\r\n", "\n"),
        sent_at=now,
        for_us=mentioned or key.channel == "direct",
        attachments=attachments,
    )
