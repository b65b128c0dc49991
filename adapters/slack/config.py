"""What the Slack adapter is told by the operator, and Slack's own limits.

The limits are Slack's as of late 2026: https://docs.slack.dev/apis/web-api/rate-limits and the pages of the methods.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from bot.budget import Rate
from bot.errors import ConfigurationError

NAME = "slack"
API_URL = "https://slack.com/api/"

# of a message
MESSAGE_CHARS = 9_000  # of all block text; Slack refuses somewhere above, undocumented
PLAIN_CHARS = 3_900  # of text without blocks; above 4,000 Slack may split it
CODE_CHARS = 3_000  # of a cell's code in its message; all of it by the button
OUTPUT_CHARS = 5_000  # of a cell's output in its message
HEAD_CHARS = 2_800  # of an answer that goes into a file
APPEND_CHARS = 12_000  # of one append to a stream
STREAM_SECONDS = 240.0  # Slack ends a stream after about five minutes, appended to or not
TITLE_CHARS = 200

# of ours
EDIT_SECONDS = 1.5
HOLD_SECONDS = 0.3
CALL_SECONDS = 20.0
RATE_TRIES = 8  # of one call that Slack puts off
REPEATS = 2  # of a call that may be made twice without harm
PERSON_SECONDS = 600.0  # how long we believe who somebody is
PEOPLE_KEPT = 5_000
STATUS_SECONDS = 90.0  # Slack forgets a status after two minutes
LEVEL_SECONDS = 6 * 3600.0  # until a method that a workspace refused is tried again
CATCH_UP_HOURS = 24
CATCH_UP_THREADS = 50
WATCH_SECONDS = 15.0
QUIET_SECONDS = 300.0  # without a frame; then the connection is made anew
BODY_BYTES = 1 << 20  # of one HTTP delivery

MINUTE = 60.0
_TIERS = {1: 1.0, 2: 20.0, 3: 50.0, 4: 100.0}
_SPECIAL = {"chat.postMessage": 300.0, "assistant.threads.setStatus": 60.0}  # "several hundred a minute"
_METHODS = {
    "apps.connections.open": 1,
    "chat.startStream": 2, "chat.stopStream": 2, "reactions.remove": 2,
    "chat.update": 3, "chat.delete": 3, "reactions.add": 3, "conversations.replies": 3, "conversations.history": 3,
    "agents.sessions.setStatus": 3, "agents.sessions.rename": 3,
    "chat.appendStream": 4, "chat.postEphemeral": 4, "files.getUploadURLExternal": 4, "files.info": 4,
    "files.completeUploadExternal": 4, "users.info": 4, "views.open": 4, "views.publish": 4, "auth.test": 4,
}  # fmt: skip


def rate_of(bucket: str) -> Rate:
    """The rate of a bucket: of a method in the workspace, or `post:CHANNEL` for what is posted in one channel.

    A quarter may go at once; together with what comes back in a minute that is Slack's figure, never more.
    """
    if bucket.startswith("post:"):
        return Rate(calls=55, seconds=MINUTE, burst=5)
    calls = _SPECIAL.get(bucket) or _TIERS[_METHODS.get(bucket, 3)]
    burst = max(1.0, calls / 4)
    return Rate(calls=max(1.0, calls - burst), seconds=MINUTE, burst=burst)


COMMAND = re.compile(r"/[a-z0-9_-]{1,31}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackConfig:
    """How to reach Slack, and how Slack reaches us: by a socket with an app token, else by HTTP with a secret."""

    bot_token: str = field(repr=False)
    app_token: str | None = field(default=None, repr=False)
    signing_secret: str | None = field(default=None, repr=False)
    api_url: str = API_URL
    host: str = "0.0.0.0"  # noqa: S104 - Slack delivers from outside; every delivery is signed
    port: int = 3000
    command: str = "/sandbox"
    admins: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        """Raises ConfigurationError."""
        ConfigurationError.raise_for(self._mistakes())

    def _mistakes(self) -> Iterator[str]:
        if not self.bot_token.startswith("xoxb-"):
            yield "SLACK_BOT_TOKEN is not a bot token: it begins with xoxb-."
        if self.app_token is not None and not self.app_token.startswith("xapp-"):
            yield "SLACK_APP_TOKEN is not an app-level token: it begins with xapp-."
        if not self.app_token and not self.signing_secret:
            yield "Slack needs SLACK_APP_TOKEN (Socket Mode) or SLACK_SIGNING_SECRET (HTTP) beside SLACK_BOT_TOKEN."
        if urlsplit(self.api_url).scheme not in ("http", "https") or not urlsplit(self.api_url).netloc:
            yield f"SLACK_API_URL is no address: {self.api_url!r}."
        if COMMAND.fullmatch(self.command) is None:
            yield f"THREADBOX_SLACK_COMMAND: {self.command!r} is not like /sandbox."

    @property
    def base_url(self) -> str:
        """Of the Web API, with the slash that slack_sdk wants."""
        return self.api_url.rstrip("/") + "/"

    def is_slack_file(self, url: str) -> bool:
        """Whether the bot token may be sent there."""
        parts, ours = urlsplit(url), urlsplit(self.base_url)
        if (parts.scheme, parts.netloc) == (ours.scheme, ours.netloc):
            return True
        host = parts.hostname or ""
        return parts.scheme == "https" and (host == "slack.com" or host.endswith(".slack.com"))
