"""What the Discord adapter is told by the operator, and Discord's own limits.

The limits are Discord's as of late 2026: https://docs.discord.com/developers, pages of messages, threads, rate limits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from bot.budget import Rate
from bot.errors import ConfigurationError

NAME = "discord"
DIRECT = "@me"  # the workspace of direct messages
API_URL = "https://discord.com/api/v10"
GATEWAY_URL = "wss://gateway.discord.gg/"
PORTAL = "https://discord.com/developers/applications"

# of a message
MESSAGE_CHARS = 2_000
PARTS_MOST = 4  # messages that one reply may become; what is longer goes into a file
FILES_MOST = 10
FILE_BYTES = 10 << 20  # where the server has no larger limit
MESSAGE_BYTES = 25 << 20  # of all files of one message together
TITLE_CHARS = 100
CODE_LINES, OUTPUT_LINES = 40, 24  # shown of a cell; all of it by a button
NOTICES_MOST = 8

# of ours
EDIT_SECONDS = 1.1
HOLD_SECONDS = 0.3
CARD_SECONDS = 0.7  # without anything new in a thread until the card that says we are at it
CARD_FRESH_SECONDS = 30.0  # an answer that comes later is posted: an edit would mark nothing as unread
MOVE_SECONDS = 1.5  # until the card follows what people write below it
THREAD_MINUTES = 10_080  # how long Discord lists a thread that rests
STATES_KEPT = 5_000  # threads and messages whose state is remembered
PLACES_KEPT = 10_000
CALL_TRIES = 3  # of one call that Discord or the network failed
RATE_TRIES = 8  # of one call that Discord puts off
RATE_SECONDS = 60.0  # the longest that discord.py may sleep inside a call
REFUSED_SECONDS = 60.0  # nothing is sent to a channel for so long after Discord forbade it
CHANNEL_CONTEXT_MINUTES = 60  # what was said in a channel before a mention, no older
RERUN_SECONDS = 600.0  # after which an edit is no longer offered to run again
RERUN_PRESS_SECONDS = 120.0  # how long the offer stands
RERUN_KEPT = 1_000
CATCH_UP_HOURS = 24
CATCH_UP_CHANNELS = 100
CATCH_UP_MESSAGES = 500  # of one channel
CURSOR_SECONDS = 5.0
CONNECT_SECONDS = 20.0  # that a start waits for the gateway; after that it goes on trying
BACKOFF_MOST_SECONDS = 120.0  # Discord allows 1,000 connections a day
REFUSED_AGAIN_SECONDS = 300.0  # after Discord refused a token that it had taken
STEADY_SECONDS = 60.0  # connected for so long, and the next attempt does not wait

GLOBAL = "global"


def rate_of(bucket: str) -> Rate:
    """The rate for everything together: 50 a second at most. What each channel takes, discord.py keeps by headers."""
    return Rate(calls=36, seconds=1.0, burst=12)


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscordConfig:
    """How to reach Discord, and what we may read."""

    token: str = field(repr=False)
    api_url: str = API_URL
    gateway_url: str = GATEWAY_URL
    message_content: Literal["auto", "off"] = "auto"
    shards: str = ""
    """Empty for one connection, `auto` for as many as Discord advises, or a number."""
    direct_messages: bool = True
    admins: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        """Raises ConfigurationError."""
        ConfigurationError.raise_for(self._mistakes())

    def _mistakes(self) -> Iterator[str]:
        if self.token.count(".") != 2 or self.token != self.token.strip():
            yield "DISCORD_BOT_TOKEN is not a bot token: it has three parts with dots between."
        if self.shards not in ("", "auto") and not (self.shards.isdigit() and 1 <= int(self.shards) <= 1000):
            yield f"THREADBOX_DISCORD_SHARDS is empty, auto or a number; it is {self.shards!r}."
        for name, url, schemes in (
            ("DISCORD_API_URL", self.api_url, ("http", "https")),
            ("DISCORD_GATEWAY_URL", self.gateway_url, ("ws", "wss")),
        ):
            if urlsplit(url).scheme not in schemes or not urlsplit(url).netloc:
                yield f"{name} is no address: {url!r}."

    def is_discord_file(self, url: str) -> bool:
        """Whether an attachment may be fetched from there."""
        parts, api = urlsplit(url), urlsplit(self.api_url)
        if (parts.scheme, parts.netloc) == (api.scheme, api.netloc):
            return True
        host = parts.hostname or ""
        return parts.scheme == "https" and host in ("cdn.discordapp.com", "media.discordapp.net")
