"""Calls of Discord's REST API: one budget, and what discord.py does not try again is tried again here.

discord.py repeats 500, 502, 504 and what its rate limits say; not 503, 520, a dropped connection, or a 429 from
Cloudflare. A post that is repeated carries the same nonce: Discord answers with the message that there is already.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp
import discord
import structlog
from cachetools import TTLCache

from adapters.discord.config import (
    CALL_TRIES,
    GLOBAL,
    RATE_SECONDS,
    RATE_TRIES,
    REFUSED_SECONDS,
    STATES_KEPT,
    rate_of,
)
from bot.budget import Budget, Priority
from bot.errors import BotError

log = structlog.get_logger()

T = TypeVar("T")

FIRST_WAIT_SECONDS = 0.5  # doubled each time
FORBIDDEN, NO_ACCESS, UNKNOWN_CHANNEL = 50013, 50001, 10003
ARCHIVED, THREAD_EXISTS, LOCKED = 50083, 160004, 160005
NO_HISTORY = 160002  # to answer a message one must be allowed to read what was said before
MAY_NOT, TOO_LARGE = 403, 413  # statuses; Discord's number for the second is 40005


class DiscordRefused(BotError):
    """Discord refused a call; `reason` is its number for why, 0 where it gives none."""

    code = "discord"

    def __init__(self, status: int, reason: int, words: str) -> None:
        super().__init__(f"Discord refused a call: {status}, {reason} {words}")
        self.status = status
        self.reason = reason

    @property
    def is_gone(self) -> bool:
        """Whether the channel or message no longer is."""
        return self.status == 404

    @property
    def is_lasting(self) -> bool:
        """Whether trying again is in vain: it is gone, locked, or we may not."""
        return self.status in (403, 404) or self.reason == LOCKED


@dataclass(frozen=True, slots=True)
class Upload:
    """A file on its way out."""

    name: str
    data: bytes
    description: str = ""


class Calls:
    """Use `do` for any call; the rest are the calls that adapters make most."""

    def __init__(self, client: discord.Client, clock: Callable[[], float]) -> None:
        self.client = client
        self.budget = Budget(rate_of, clock)
        self._refused: TTLCache[tuple[str, int], bool] = TTLCache(STATES_KEPT, REFUSED_SECONDS, timer=clock)

    async def do(self, work: Callable[[], Awaitable[T]], priority: Priority, channel: int = 0, what: str = "post") -> T:
        """Make a call when the budget allows. Raises DiscordRefused, ConnectionError.

        A channel that forbade `what` is left alone with it for a while: too many refusals and Discord shuts us out.
        """
        if (what, channel) in self._refused:
            raise DiscordRefused(403, FORBIDDEN, "a moment ago")
        failures = puts_off = 0
        while True:
            await self.budget.take(GLOBAL, priority=priority)
            try:
                return await work()
            except (discord.DiscordException, aiohttp.ClientError, OSError) as error:  # TimeoutError among them
                if isinstance(error, discord.HTTPException) and error.status < 500 and error.status != 429:
                    raise self._refusal(error, channel, what) from None
                is_put_off = isinstance(error, discord.RateLimited) or getattr(error, "status", 0) == 429
                puts_off, failures = puts_off + is_put_off, failures + (not is_put_off)
                why = str(getattr(error, "status", type(error).__name__))
                wait = _wait(error, failures)
                if is_put_off and _is_from_cloudflare(error):  # it counts all that we send, and shuts us out in the end
                    self.budget.pause(GLOBAL, min(wait, RATE_SECONDS))
            if failures >= CALL_TRIES or puts_off >= RATE_TRIES or wait > RATE_SECONDS:
                raise ConnectionError(f"Discord: {why}")
            log.info("discord.again", why=why, wait_s=round(wait, 1))
            await asyncio.sleep(wait)

    def _refusal(self, error: discord.HTTPException, channel: int, what: str) -> DiscordRefused:
        if error.status == 403 and error.code in (FORBIDDEN, NO_ACCESS) and channel:
            self._refused[(what, channel)] = True
        return DiscordRefused(error.status, error.code, error.text)

    def allowed_again(self, channel: int) -> None:
        """Forget that a channel forbade something: somebody called us there."""
        self._refused.pop(("post", channel), None)

    # ---- messages

    def _channel(self, channel: int) -> discord.PartialMessageable:
        return self.client.get_partial_messageable(channel)

    async def send(
        self,
        channel: int,
        content: str,
        *,
        nonce: str,
        priority: Priority,
        files: Sequence[Upload] = (),
        view: discord.ui.View | None = None,
        answers: int | None = None,
        ping: int | None = None,
    ) -> int:
        """Post a message; its id. The same nonce within some minutes is the same message.

        `ping` is the one person who may be notified.
        """
        target = self._channel(channel)
        reference = (
            discord.MessageReference(message_id=answers, channel_id=channel, fail_if_not_exists=False)
            if answers is not None
            else None
        )
        mentions = discord.AllowedMentions.none()
        if ping is not None:
            mentions.users = [discord.Object(ping)]

        async def work() -> int:
            more: dict[str, Any] = {"files": as_files(files)} if files else {}
            more |= {name: value for name, value in (("view", view), ("reference", reference)) if value is not None}
            message = await target.send(
                content or None, nonce=nonce, allowed_mentions=mentions, suppress_embeds=True, **more
            )
            return message.id

        try:
            return await self.do(work, priority, channel)
        except DiscordRefused as error:
            if reference is None or error.reason != NO_HISTORY:
                raise
            reference = None
            return await self.do(work, priority, channel)

    async def edit(
        self,
        channel: int,
        message: int,
        content: str,
        *,
        priority: Priority,
        files: Sequence[Upload] | None = None,
        view: discord.ui.View | None = None,
    ) -> None:
        """Change a message of ours; without `files` those that it has stay."""
        target = self._channel(channel).get_partial_message(message)

        async def work() -> None:
            more: dict[str, Any] = {} if files is None else {"attachments": as_files(files)}
            await target.edit(
                content=content or None, view=view, allowed_mentions=discord.AllowedMentions.none(), **more
            )

        await self.do(work, priority, channel)

    async def delete(self, channel: int, message: int, priority: Priority) -> None:
        """Delete a message of ours; one that is gone is no error."""
        target = self._channel(channel).get_partial_message(message)
        try:
            await self.do(target.delete, priority, channel)
        except DiscordRefused as error:
            if not error.is_gone:
                raise

    async def react(self, channel: int, message: int, emoji: str, *, on: bool = True) -> None:
        """Put a reaction of ours on a message, or take it away."""
        target = self._channel(channel).get_partial_message(message)
        us = self.client.user
        if on:
            await self.do(lambda: target.add_reaction(emoji), Priority.SIGN, channel, "react")
        elif us is not None:
            await self.do(lambda: target.remove_reaction(emoji, us), Priority.SIGN, channel, "react")

    async def message(self, channel: int, message: int) -> discord.Message:
        """One message."""
        target = self._channel(channel)
        return await self.do(lambda: target.fetch_message(message), Priority.PROGRESS)

    async def history(
        self,
        channel: int,
        limit: int,
        *,
        before: int | None = None,
        after: int | None = None,
        oldest_first: bool = False,
        priority: Priority = Priority.PROGRESS,
    ) -> list[discord.Message]:
        """Messages of a channel or thread, newest first unless asked otherwise."""
        target = self._channel(channel)

        async def work() -> list[discord.Message]:
            bounds = {"before": discord.Object(before) if before else None,
                      "after": discord.Object(after) if after is not None else None}  # fmt: skip
            found = target.history(limit=limit, oldest_first=oldest_first, **bounds)
            return [message async for message in found]

        return await self.do(work, priority)


def as_files(uploads: Sequence[Upload]) -> list[discord.File]:
    """Made anew for each try: a file that was read is empty."""
    return [
        discord.File(io.BytesIO(one.data), filename=one.name, description=one.description[:1_000] or None)
        for one in uploads
    ]


def _is_from_cloudflare(error: Exception) -> bool:
    return isinstance(error, discord.HTTPException) and not error.response.headers.get("Via")


def _wait(error: Exception, failures: int) -> float:
    if isinstance(error, discord.RateLimited):
        return error.retry_after
    if isinstance(error, discord.HTTPException):
        try:
            return float(error.response.headers.get("Retry-After", ""))
        except (TypeError, ValueError):
            pass
    return float(FIRST_WAIT_SECONDS * 2 ** max(failures - 1, 0))
