"""What is typed, as messages; pure."""

from __future__ import annotations

from datetime import datetime

from adapters.terminal.config import NAME, TerminalConfig
from bot.model import IncomingMessage, Person, ThreadKey


def message(text: str, config: TerminalConfig, message_id: str, now: datetime) -> IncomingMessage:
    """Everything typed is for us: nobody else is here."""
    key = ThreadKey(platform=NAME, workspace="local", channel="terminal", thread=config.thread)
    author = Person(id=config.person, name=config.person, is_admin=True)
    return IncomingMessage(key=key, message_id=message_id, author=author, text=text, sent_at=now, for_us=True)
