"""Calls of Slack's Web API within its limits: one budget, one connection pool, one place that understands failures."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
import structlog
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from adapters.slack.config import CALL_SECONDS, LEVEL_SECONDS, RATE_TRIES, REPEATS, SlackConfig, rate_of
from bot.budget import Budget, Priority, Rate
from bot.errors import BotError

log = structlog.get_logger()

Json = dict[str, Any]

_POSTS = {"chat.postMessage", "chat.startStream", "files.completeUploadExternal"}
"""What is lost or doubled if it is made again blindly: its caller looks it up first."""
_FORM = ("users.", "conversations.", "files.", "auth.", "apps.")
"""Methods that read; they take form fields, no JSON."""
_NOT_HERE = {
    "unknown_method", "method_not_supported_for_channel_type", "not_allowed", "missing_scope", "not_allowed_token_type",
    "feature_not_enabled", "invalid_blocks", "access_denied", "team_not_authorized", "not_supported",
}  # fmt: skip
_NO_PLACE = {
    "channel_not_found", "is_archived", "channel_is_archived", "not_in_channel", "thread_not_found",
    "cannot_reply_to_message", "channel_type_not_supported", "messages_tab_disabled",
}  # fmt: skip
"""https://docs.slack.dev/reference/methods/chat.postMessage#errors"""
_FORBIDDEN = "restricted_action"
"""How Slack's words begin for a channel or thread that admins closed to us."""


class SlackRefused(BotError):
    """Slack refused a call; `reason` is its word for why."""

    code = "slack"

    def __init__(self, method: str, reason: str) -> None:
        super().__init__(f"Slack refused {method}: {reason}")
        self.reason = reason

    @property
    def is_lasting(self) -> bool:
        """Whether trying again is in vain: the place is gone or archived, or we may not write there."""
        return self.reason in _NO_PLACE or self.reason.startswith(_FORBIDDEN)

    @property
    def is_unavailable(self) -> bool:
        """Whether this workspace does not have the method at all."""
        return self.reason in _NOT_HERE or self.reason == "status 404"


class SlackCalls:
    """Use as an async context manager."""

    def __init__(self, config: SlackConfig, clock: Callable[[], float], rates: Callable[[str], Rate] = rate_of) -> None:
        self._config = config
        self._clock = clock
        self.budget = Budget(rates, clock)
        self._lacks: dict[str, float] = {}
        self._session: aiohttp.ClientSession
        self.client: AsyncWebClient

    async def __aenter__(self) -> SlackCalls:
        """Open the connection pool."""
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=CALL_SECONDS))
        self.client = AsyncWebClient(
            token=self._config.bot_token,
            base_url=self._config.base_url,
            session=self._session,
            retry_handlers=[],  # a post that is made again unseen is a post twice
            timeout=int(CALL_SECONDS),
        )
        return self

    async def __aexit__(self, *error: object) -> None:
        """Close it."""
        await self._session.close()

    def has(self, feature: str) -> bool:
        """Whether this workspace takes a method, as far as we know; a refusal is believed for some hours."""
        return self._lacks.get(feature, 0.0) <= self._clock()

    def lacks(self, feature: str) -> None:
        """Remember that it does not."""
        if self.has(feature):
            log.info("slack.not_available", feature=feature)
        self._lacks[feature] = self._clock() + LEVEL_SECONDS

    def buckets(self, method: str, arguments: Json) -> tuple[str, ...]:
        """What a call takes from."""
        channel = arguments.get("channel") or arguments.get("channel_id")
        return (method, f"post:{channel}") if method in _POSTS and channel else (method,)

    async def call(self, method: str, *, priority: Priority, **arguments: Any) -> Json:
        """Make a call when the budget allows. Raises SlackRefused, OSError, TimeoutError.

        A call that Slack puts off (429) was not made, so it is made again; one whose answer was lost is made again
        only if twice does no harm.
        """
        buckets = self.buckets(method, arguments)
        repeats = 0
        for _ in range(RATE_TRIES):
            await self.budget.take(*buckets, priority=priority)
            try:
                return await self._once(method, arguments)
            except SlackApiError as error:
                reason = reason_of(error)
                if reason != "ratelimited":
                    if _status(error) < 500:
                        raise SlackRefused(method, reason) from None
                    if method in _POSTS or repeats >= REPEATS:
                        raise ConnectionError(f"{method}: {reason}") from None
                    repeats += 1
                else:
                    self._put_off(buckets, error)
            except (aiohttp.ClientError, TimeoutError) as error:
                if method in _POSTS or repeats >= REPEATS:
                    raise ConnectionError(f"{method}: {type(error).__name__}") from error
                repeats += 1
                await asyncio.sleep(0.2 * repeats)
        raise SlackRefused(method, "ratelimited")

    async def call_now(self, method: str, **arguments: Any) -> Json:
        """Make a call that somebody waits for and that has no rate to speak of."""
        try:
            return await self._once(method, arguments)
        except SlackApiError as error:
            reason = reason_of(error)
            if reason == "ratelimited":
                self._put_off(self.buckets(method, arguments), error)
            raise SlackRefused(method, reason) from None
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ConnectionError(f"{method}: {type(error).__name__}") from error

    async def _once(self, method: str, arguments: Json) -> Json:
        if method.startswith(_FORM):
            fields = {name: _field(value) for name, value in arguments.items() if value is not None}
            answer = await self.client.api_call(method, data=fields)
        else:
            fields = {name: value for name, value in arguments.items() if value is not None}
            answer = await self.client.api_call(method, json=fields)
        data = answer.data
        return data if isinstance(data, dict) else {}

    def _put_off(self, buckets: tuple[str, ...], error: SlackApiError) -> None:
        try:
            seconds = float(error.response.headers.get("Retry-After", 1))
        except (TypeError, ValueError):
            seconds = 1.0
        log.info("slack.put_off", buckets=buckets, seconds=seconds)
        self.budget.pause(buckets[-1], seconds)

    async def download(self, url: str, limit: int) -> bytes:
        """A file of Slack's. Raises LookupError, also when it has more than `limit` bytes; ConnectionError."""
        if not self._config.is_slack_file(url):
            raise LookupError(f"not a file of Slack's: {url[:60]}")
        headers = {"Authorization": f"Bearer {self._config.bot_token}"}
        try:
            async with self._session.get(url, headers=headers, allow_redirects=False) as response:
                if response.status != 200 or (response.content_type == "text/html" and ".htm" not in url):
                    raise LookupError(f"Slack did not give the file (status {response.status})")
                return await _read(response, limit)
        except aiohttp.ClientError as error:
            raise ConnectionError(f"download: {type(error).__name__}") from error

    async def upload(self, url: str, data: bytes) -> None:
        """The bytes of a file to where Slack wants them. Raises ConnectionError."""
        try:
            async with self._session.post(url, data=data) as response:
                if response.status != 200:
                    raise ConnectionError(f"upload: status {response.status}")
        except aiohttp.ClientError as error:
            raise ConnectionError(f"upload: {type(error).__name__}") from error


async def _read(response: aiohttp.ClientResponse, most: int) -> bytes:
    data = bytearray()
    async for chunk in response.content.iter_chunked(1 << 16):
        data += chunk
        if len(data) > most:  # half a file is no file
            raise LookupError(f"larger than the {most} bytes that Slack spoke of")
    return bytes(data)


def _field(value: Any) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    return str(value)


def reason_of(error: SlackApiError) -> str:
    """Slack's word for why."""
    if _status(error) == 429:
        return "ratelimited"
    try:
        word = error.response["error"]
    except (AttributeError, KeyError, TypeError, ValueError):  # a body that is no JSON stays text
        word = None
    return str(word) if word else f"status {_status(error)}"


def _status(error: SlackApiError) -> int:
    return int(getattr(error.response, "status_code", 0) or 0)
