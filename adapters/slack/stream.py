"""Replies that grow before people's eyes, by Slack's streaming; what cannot be streamed is edited instead.

A stream is one message. Slack ends it after about five minutes, appended to or not, so it is stopped a minute before
and the same message is edited from then on: a second message would tear a reply in two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from adapters.slack.calls import SlackCalls, SlackRefused
from adapters.slack.config import APPEND_CHARS, MESSAGE_CHARS, STREAM_SECONDS
from adapters.slack.outbound import Post, growing, metadata, task
from bot.budget import Priority
from bot.model import Reply, ThreadKey

log = structlog.get_logger()

Json = dict[str, Any]

STREAMS_MOST = 500
START, APPEND, STOP = "chat.startStream", "chat.appendStream", "chat.stopStream"


@dataclass(slots=True)
class _Stream:
    channel: str
    ts: str
    sent: str
    began: float


class Streams:
    """Streams that are open, by message id."""

    def __init__(self, calls: SlackCalls, clock: Callable[[], float]) -> None:
        self._calls = calls
        self._clock = clock
        self._open: dict[str, _Stream] = {}

    async def start(self, key: ThreadKey, reply: Reply, asker: str) -> str | None:
        """The message id of a new stream; None where it cannot be. Raises OSError when the answer is lost."""
        free = bool(asker) and len(self._open) < STREAMS_MOST and self._calls.has(START)
        text = growing(reply)[:APPEND_CHARS]
        arguments: Json = {
            "channel": key.channel,
            "thread_ts": key.thread,
            "recipient_team_id": key.workspace,
            "recipient_user_id": asker,
            "task_display_mode": "timeline",
            "chunks": _chunks(task(reply), text),
        }
        free = free and self._calls.budget.room(STOP) >= 1  # what begins must be ended
        if not free or not self._calls.budget.take_now(*self._calls.buckets(START, arguments)):
            return None
        try:
            answer = await self._calls.call_now(START, **arguments)
        except SlackRefused as error:
            if error.is_unavailable:
                self._calls.lacks(START)
            log.info("slack.no_stream", reason=error.reason)
            return None
        ts = str(answer["ts"])
        self._open[ts] = _Stream(key.channel, ts, text, self._clock())
        return ts

    async def grow(self, ts: str, reply: Reply) -> bool:
        """Append what is new; false when the message is no stream (any more) and must be edited."""
        stream = self._open.get(ts)
        if stream is None:
            return False
        text = growing(reply)
        if self._clock() - stream.began > STREAM_SECONDS or not text.startswith(stream.sent):
            await self._end(stream)
            return False
        new = text[len(stream.sent) :][:APPEND_CHARS]
        if not new or len(text) > MESSAGE_CHARS or not self._calls.budget.take_now(APPEND):
            return True
        try:
            await self._calls.call_now(APPEND, channel=stream.channel, ts=ts, chunks=_chunks(None, new))
        except SlackRefused as error:
            if error.reason == "ratelimited":
                return True
            log.info("slack.stream_died", reason=error.reason)
            del self._open[ts]
            return False
        except OSError:  # it may have been appended, and must not be twice
            await self._end(stream)
            return False
        stream.sent += new
        return True

    async def finish(self, ts: str, reply: Reply, post: Post) -> bool:
        """End the stream with all of the reply; false when the message must be edited to show it."""
        stream = self._open.get(ts)
        if stream is None:
            return False
        text = growing(reply)
        rest = text[len(stream.sent) :]
        whole = text.startswith(stream.sent) and len(text) <= MESSAGE_CHARS and not post.extra
        if not whole or len(rest) > APPEND_CHARS:
            await self._end(stream)
            return False
        blocks = [block for block in post.blocks(thumbs=self._calls.has("thumbs")) if block["type"] != "markdown"]
        del self._open[ts]
        try:
            await self._calls.call(
                STOP,
                priority=Priority.FINAL,
                channel=stream.channel,
                ts=ts,
                chunks=_chunks(task(reply), rest) or None,
                blocks=blocks or None,
                metadata=metadata(reply),
            )
        except SlackRefused as error:
            log.info("slack.stream_died", reason=error.reason)
            return False
        return True

    async def _end(self, stream: _Stream) -> None:
        self._open.pop(stream.ts, None)
        try:
            await self._calls.call(STOP, priority=Priority.FINAL, channel=stream.channel, ts=stream.ts)
        except (SlackRefused, OSError) as error:  # it was dead already, or an edit ends it
            log.info("slack.stream_not_stopped", error=str(error))


def _chunks(entry: Json | None, text: str) -> list[Json]:
    chunks: list[Json] = [entry] if entry is not None else []
    return [*chunks, {"type": "markdown_text", "text": text}] if text else chunks
