"""What the web chat is told by the operator, and its own bounds."""

from __future__ import annotations

from dataclasses import dataclass

from bot.errors import ConfigurationError

NAME = "web"
WORKSPACE = "local"
CHANNELS = ("general", "direct")
"""In `direct` every message is for the bot; elsewhere a message must mention it to begin a thread."""
LOOPBACK = ("127.0.0.1", "localhost", "::1")
THREADS_SHOWN = 50
ENTRIES_SHOWN = 50
ENTRIES_MOST = 200  # for who asks for earlier ones
LISTENERS = 100  # browser tabs at once
EVENTS_WAITING = 256  # for one tab; a tab that falls behind is cut off and connects again
BYTES_WAITING = 4 << 20  # of those events
PAGES_AWAITED = 32  # that were served and have not connected yet
AWAITED_SECONDS = 10.0
RENDERED_KEPT = 256  # pieces of code, and as many texts, whose HTML is not made anew
NOTES_KEPT = 100  # threads with a note that nobody has seen yet
FORM_SLACK_BYTES = 1 << 20  # of a form beyond its files
FILES_AT_ONCE = 10
TEXT_BYTES = 32 << 20  # of a message that is read, so that what is too long is refused in our words
FORM = {"max_files": FILES_AT_ONCE, "max_fields": 4, "max_part_size": TEXT_BYTES}


@dataclass(frozen=True, slots=True, kw_only=True)
class WebConfig:
    """Where to listen, and who may come in."""

    host: str
    port: int
    token: str | None
    upload_bytes: int

    def __post_init__(self) -> None:
        """Raises ConfigurationError for an open door."""
        if self.host not in LOOPBACK and not self.token:
            raise ConfigurationError(
                f"THREADBOX_WEB_HOST is {self.host}: other machines could run code here. Set THREADBOX_WEB_TOKEN too."
            )

    @property
    def body_bytes(self) -> int:
        """The largest request."""
        return self.upload_bytes * FILES_AT_ONCE + FORM_SLACK_BYTES
