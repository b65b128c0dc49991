"""Slack as a platform: replies are messages of a thread, streamed, edited or plain, as the workspace lets us."""

from __future__ import annotations

from typing import Any

import structlog
from cachetools import LRUCache

from adapters.slack import inbound, outbound
from adapters.slack.calls import SlackCalls, SlackRefused
from adapters.slack.config import EDIT_SECONDS, HOLD_SECONDS, NAME, TITLE_CHARS
from adapters.slack.files import Files
from adapters.slack.inbound import Identity, ts_of
from adapters.slack.people import People
from adapters.slack.signs import Signs
from adapters.slack.stream import Streams
from adapters.slack.text import harmless, plain
from bot.budget import Priority
from bot.model import Attachment, Code, IncomingMessage, Printed, Quoted, Reply, ThreadKey
from bot.ports import GONE, Sign
from bot.signs import ENDS
from bot.store_ports import Artifacts
from bot.text import title_of

log = structlog.get_logger()

Json = dict[str, Any]

ASKERS_KEPT = 5_000
PAGE = 200
PAGES_MOST = 10
ROOM_TO_EDIT = 8.0
ROOM_TO_GROW = 2.0  # posts that a channel must have left before a reply is shown that is not final

_NO_MESSAGE = {"message_not_found", "cant_update_message"}


class SlackPlatform:
    """The Platform port. Three levels: stream, post and edit blocks, plain text; what is refused is remembered."""

    name = NAME
    edit_seconds = EDIT_SECONDS
    hold_seconds = HOLD_SECONDS
    outlives_us = True
    keeps_history = True

    def __init__(
        self, calls: SlackCalls, people: People, signs: Signs, streams: Streams, artifacts: Artifacts, us: Identity
    ) -> None:
        self._calls = calls
        self._people = people
        self._signs = signs
        self._streams = streams
        self._artifacts = artifacts
        self._files = Files(calls, artifacts)
        self._us = us
        self._askers: LRUCache[ThreadKey, str] = LRUCache(ASKERS_KEPT)

    async def mark(self, message: IncomingMessage, sign: Sign) -> None:
        """See bot.ports.Platform: never waits for Slack."""
        self._signs.want(message.key.channel, ts_of(message.message_id), sign)
        if sign == "working":
            self._askers[message.key] = message.author.id
            self._signs.working(message.key, message.author.id, title_of(message.text, TITLE_CHARS))
        elif sign in ENDS:
            self._signs.at_rest(message.key)

    async def publish(self, key: ThreadKey, reply: Reply) -> str:
        """See bot.ports.Platform. A reply that grows is posted only where its channel has room for it."""
        try:
            if not reply.final:
                return await self._begin(key, reply)
            ts = await self._post(key, reply)
            await self._share(key, reply)
        except SlackRefused as error:
            if error.is_lasting:
                log.warning("slack.not_answered", error=str(error))
                return GONE
            raise
        return ts

    async def _begin(self, key: ThreadKey, reply: Reply) -> str:
        ts_or_none = await self._streams.start(key, reply, self._askers.get(key, ""))
        if ts_or_none is not None:
            return ts_or_none
        room = self._calls.budget.room
        full = room(f"post:{key.channel}", "chat.postMessage") < ROOM_TO_GROW or room("chat.update") < ROOM_TO_EDIT
        return "" if full else await self._post(key, reply)  # what is shown now must be edited later

    async def update(self, key: ThreadKey, message_id: str, reply: Reply) -> None:
        """See bot.ports.Platform. Progress that cannot be afforded now is left out; what is final never is."""
        if not reply.final:
            if not await self._streams.grow(message_id, reply) and self._calls.budget.take_now("chat.update"):
                try:
                    await self._calls.call_now("chat.update", **self._message(key, reply), ts=message_id)
                except SlackRefused as error:
                    self._learn(error)
            return
        try:
            if not await self._streams.finish(message_id, reply, outbound.post(reply)):
                await self._edit(key, message_id, reply)
            await self._share(key, reply)
        except SlackRefused as error:
            if not error.is_lasting:
                raise
            log.info("slack.not_edited", error=str(error))

    async def _edit(self, key: ThreadKey, ts: str, reply: Reply) -> None:
        for _ in range(3):  # each refusal may teach us to ask for less
            try:
                await self._calls.call("chat.update", priority=Priority.FINAL, **self._message(key, reply), ts=ts)
            except SlackRefused as error:
                if error.reason in _NO_MESSAGE:
                    return  # somebody deleted it
                if error.reason == "streaming_state_conflict":  # begun by an earlier life of ours
                    await self._calls.call("chat.stopStream", priority=Priority.FINAL, channel=key.channel, ts=ts)
                    continue
                if not self._learn(error):
                    raise
            else:
                return

    async def _post(self, key: ThreadKey, reply: Reply) -> str:
        priority = Priority.FINAL if reply.final else Priority.PROGRESS
        while True:
            try:
                answer = await self._calls.call(
                    "chat.postMessage",
                    priority=priority,
                    **self._message(key, reply),
                    thread_ts=key.thread,
                    unfurl_links=False,
                    unfurl_media=False,
                )
            except SlackRefused as error:
                if not self._learn(error):
                    raise
            else:
                return str(answer["ts"])

    def _learn(self, error: SlackRefused) -> bool:
        """Whether a refusal says that this workspace takes less than we tried."""
        if error.reason not in ("invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "invalid_arguments"):
            return False
        feature = "thumbs" if self._calls.has("thumbs") else "blocks"
        known = self._calls.has(feature)
        self._calls.lacks(feature)
        return known

    def _message(self, key: ThreadKey, reply: Reply) -> Json:
        post = outbound.post(reply)
        message: Json = {"channel": key.channel, "metadata": outbound.metadata(reply)}
        if self._calls.has("blocks"):
            blocks = post.blocks(thumbs=self._calls.has("thumbs"))
            return message | {"text": post.fallback(), "blocks": blocks}
        return message | {"text": post.plain()}

    async def _share(self, key: ThreadKey, reply: Reply) -> None:
        """The pictures and files of a final reply, in order, and as a file what was too long to show."""
        post = outbound.post(reply)
        artifacts = list(post.artifacts)
        for name, text in post.extra:
            artifacts.append(await self._kept(reply, name, text))
        for artifact in artifacts:
            words = await self._files.share(key, artifact)
            if words:
                await self.say(key, words)

    async def _kept(self, reply: Reply, name: str, text: str) -> Any:
        data = text.encode("utf-8", "replace")
        return await self._artifacts.save(reply.turn_id, name, "text/plain", data, key=f"{reply.key}/{name}")

    async def find(self, key: ThreadKey, reply: Reply) -> str | None:
        """See bot.ports.Platform: by the metadata that every post carries.

        A stream carries none before its end: one of ours that begins like the reply is taken for it.
        """
        begun = outbound.growing(reply)[:200].split("\n")[0]
        unnamed: str | None = None
        try:
            async for said in self._replies(key, include_all_metadata=True):
                if outbound.key_of(said) == reply.key:
                    return str(said["ts"])
                ours = said.get("bot_id") == self._us.bot_id or said.get("user") == self._us.user_id
                if ours and "metadata" not in said and begun and str(said.get("text", "")).startswith(begun):
                    unnamed = str(said["ts"])
        except SlackRefused as error:
            if not error.is_lasting:  # else whoever posts there is told so
                raise
        return unnamed

    async def _replies(self, key: ThreadKey, **arguments: Any) -> Any:
        cursor: str | None = None
        for _ in range(PAGES_MOST):
            page = await self._calls.call(
                "conversations.replies",
                priority=Priority.FINAL,
                channel=key.channel,
                ts=key.thread,
                limit=PAGE,
                cursor=cursor,
                **arguments,
            )
            for said in page.get("messages") or []:
                yield said
            cursor = (page.get("response_metadata") or {}).get("next_cursor")
            if not cursor:
                return

    async def earlier(self, message: IncomingMessage, limit: int) -> list[Quoted]:
        """See bot.ports.Platform."""
        found: list[Quoted] = []
        ts = ts_of(message.message_id)
        async for said in self._replies(message.key, latest=ts):
            if float(said.get("ts", 0)) >= float(ts):
                continue
            user = str(said.get("user") or "")
            name = (await self._people.person(user)).name if user and not said.get("bot_id") else "a bot"
            found.append(inbound.quoted(said, self._us, name))
        return found[-limit:]

    async def fetch(self, attachment: Attachment) -> bytes:
        """See bot.ports.Platform."""
        return await self._calls.download(attachment.source, max(attachment.size, 1 << 20))

    # ---- beyond the port

    async def say(self, key: ThreadKey, words: str) -> None:
        """A line of the bot's own that no turn stands behind."""
        await self._calls.call(
            "chat.postMessage",
            priority=Priority.PROGRESS,
            channel=key.channel,
            thread_ts=key.thread,
            text=plain(words),
            unfurl_links=False,
        )

    async def whisper(self, key: ThreadKey, user: str, words: str, blocks: list[Json] | None = None) -> None:
        """A line that one person alone sees."""
        await self._calls.call(
            "chat.postEphemeral",
            priority=Priority.PROGRESS,
            channel=key.channel,
            user=user,
            thread_ts=key.thread or None,
            text=plain(words),
            blocks=blocks or [{"type": "markdown", "text": harmless(words)}],
        )

    async def show_whole(self, key: ThreadKey, reply: Reply) -> None:
        """All code and output of a reply, as files in its thread."""
        for block in reply.blocks:
            match block:
                case Code():
                    suffix = {"python": "py", "bash": "sh"}.get(block.language, "txt")
                    artifact = await self._kept(reply, f"code.{suffix}", block.source)
                case Printed():
                    artifact = await self._kept(reply, "output.txt", block.text)
                case _:
                    continue
            await self._files.share(key, artifact)
