"""The loopback Discord's gateway: sessions that can be resumed, intents, compression, and ways to break them."""

from __future__ import annotations

import asyncio
import json
import secrets
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import zstandard
from aiohttp import ClientConnectionResetError, WSMsgType, web

from tests.doubles.discord_api import DiscordApi
from tests.doubles.discord_guild import GENERAL, GUILD
from tests.doubles.discord_messages import without_content

Json = dict[str, Any]

TOKEN = "test.bot.token"
DISPATCH, HEARTBEAT, IDENTIFY, RESUME, RECONNECT, INVALID, HELLO, ACK = 0, 1, 2, 6, 7, 9, 10, 11
GUILDS, GUILD_MESSAGES, GUILD_REACTIONS, DM_MESSAGES, DM_REACTIONS = 1, 1 << 9, 1 << 10, 1 << 12, 1 << 13
CONTENT = 1 << 15
PRIVILEGED = 1 << 1 | 1 << 8
BAD_TOKEN, NOT_AUTHENTICATED, NOT_ALLOWED = 4004, 4003, 4014
KEPT_ALONE = 3
GONE_AFTER = (1000, 1001)
"""A client that closes with these gives up its session."""


@dataclass
class Session:
    """What one IDENTIFY began; it keeps all that was said for a RESUME."""

    id: str
    intents: int
    link: Link | None = None
    said: list[str] = field(default_factory=list)
    lost: bool = False
    shard: tuple[int, int] = (0, 1)
    """Its number, and how many there are."""

    @property
    def has_guild(self) -> bool:
        """Whether the guild is among those of its shard; direct messages are the first's."""
        return (int(GUILD) >> 22) % self.shard[1] == self.shard[0]

    def hears(self, event: str, data: Json) -> bool:
        """Whether it is told of what happens there."""
        return self.has_guild if "guild_id" in data or event.startswith("GUILD") else self.shard[0] == 0

    def tell(self, event: str, data: Json) -> None:
        frame = json.dumps({"op": DISPATCH, "t": event, "s": len(self.said) + 1, "d": data})
        self.said.append(frame)
        if self.link is not None:
            self.link.send(frame)

    def sees(self, event: str, data: Json) -> Json | None:
        """What the intents leave of an event; None: nothing."""
        if event == "INTERACTION_CREATE":
            return data
        in_guild = "guild_id" in data
        if event.startswith("MESSAGE_REACTION"):
            needed = GUILD_REACTIONS if in_guild else DM_REACTIONS
        elif event.startswith("MESSAGE"):
            needed = GUILD_MESSAGES if in_guild else DM_MESSAGES
        else:
            needed = GUILDS
        if not self.intents & needed:
            return None
        bare = event in ("MESSAGE_CREATE", "MESSAGE_UPDATE") and in_guild and not self.intents & CONTENT
        return without_content(data) if bare else data


class Link:
    """One WebSocket; frames leave in order, through one stream of compression."""

    def __init__(self, socket: web.WebSocketResponse, request: web.Request) -> None:
        self.socket = socket
        self.request = request
        self.session: Session | None = None
        self.silent = False
        self.closed_with = 0
        """The client's own code: aiohttp's `close_code` is 1000 after a cut as well."""
        self._pack = _packer(request.query.get("compress", ""))
        self._queue: asyncio.Queue[str | int] = asyncio.Queue()

    def send(self, frame: str | Json) -> None:
        if not self.silent:
            self._queue.put_nowait(frame if isinstance(frame, str) else json.dumps(frame))

    def close(self, code: int) -> None:
        self._queue.put_nowait(code)

    def abort(self) -> None:
        if self.request.transport is not None:
            self.request.transport.abort()

    async def pump(self) -> None:
        try:
            while True:
                frame = await self._queue.get()
                if isinstance(frame, int):
                    await self.socket.close(code=frame)
                    return
                packed = self._pack(frame.encode())
                await (self.socket.send_bytes(packed) if packed is not None else self.socket.send_str(frame))
        except (ClientConnectionResetError, ConnectionResetError):
            return


def _packer(kind: str) -> Callable[[bytes], bytes | None]:
    """What `compress=` in the address asked for."""
    if kind == "zstd-stream":
        zstd = zstandard.ZstdCompressor().compressobj()
        return lambda data: zstd.compress(data) + zstd.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    if kind == "zlib-stream":
        plain = zlib.compressobj()
        return lambda data: plain.compress(data) + plain.flush(zlib.Z_SYNC_FLUSH)
    return lambda data: None


class Gateway:
    """All connections and sessions."""

    def __init__(self, api: DiscordApi, changed: Callable[[], None]) -> None:
        self.api = api
        self.url = ""
        self.changed = changed
        self.heartbeat_ms = 41_250
        self.refuse_connects = 0
        self.mute = False
        self.duplicate = False
        self.connects = self.identifies = self.resumes = 0
        self.links: list[Link] = []
        self.sessions: list[Session] = []

    async def serve(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(compress=False, max_msg_size=0, autoping=not self.mute)
        await socket.prepare(request)
        self.connects += 1
        link = Link(socket, request)
        if self.refuse_connects > 0:
            self.refuse_connects -= 1
            link.abort()
            return socket
        self.links.append(link)
        self._send(link, {"op": HELLO, "d": {"heartbeat_interval": self.heartbeat_ms}, "s": None, "t": None})
        pump = asyncio.ensure_future(link.pump())
        try:
            while (frame := await socket.receive()).type == WSMsgType.TEXT:
                self._receive(link, json.loads(frame.data))
            if frame.type == WSMsgType.CLOSE:
                link.closed_with = frame.data
        finally:
            pump.cancel()
            self._gone(link)
        return socket

    def _gone(self, link: Link) -> None:
        self.links.remove(link)
        if link.session is not None and link.session.link is link:
            link.session.link = None
            if link.session.lost or link.closed_with in GONE_AFTER:
                self.sessions.remove(link.session)
        self.changed()

    def _send(self, link: Link, frame: Json) -> None:
        link.silent = link.silent or self.mute
        link.send(frame)

    def _receive(self, link: Link, frame: Json) -> None:
        match frame["op"]:
            case 1:
                self._send(link, {"op": ACK, "d": None})
            case 2:
                self._identify(link, frame["d"])
            case 6:
                self._resume(link, frame["d"])
            case _ if link.session is None:
                link.close(NOT_AUTHENTICATED)
        self.changed()

    # ---- beginning

    def _identify(self, link: Link, asked: Json) -> None:
        self.identifies += 1
        if asked["token"] != TOKEN:
            return link.close(BAD_TOKEN)
        if asked["intents"] & PRIVILEGED or (asked["intents"] & CONTENT and not self.api.message_content):
            return link.close(NOT_ALLOWED)
        session = Session(secrets.token_hex(8), asked["intents"], shard=tuple(asked.get("shard", (0, 1))))
        self._attach(link, session)
        self._forget()
        self.sessions.append(session)
        application = self.api.application()
        guild = self.api.guild
        session.tell("READY", {
            "v": 10, "user": self.api.me(), "session_id": session.id, "resume_gateway_url": self.url,
            "application": {"id": application["id"], "flags": application["flags"]},
            "shard": list(session.shard), "guilds": [] if guild.left or not session.has_guild else [{"id": GUILD, "unavailable": True}],
        })  # fmt: skip
        if not guild.left and session.has_guild and asked["intents"] & GUILDS:
            session.tell("GUILD_CREATE", guild.full())
        return None

    def _forget(self) -> None:
        """Only the newest sessions without a connection: discord.py's close() keeps its own alive with code 4000."""
        alone = [session for session in self.sessions if session.link is None]
        for session in alone[:-KEPT_ALONE]:
            self.sessions.remove(session)

    def _resume(self, link: Link, asked: Json) -> None:
        self.resumes += 1
        session = next((one for one in self.sessions if one.id == asked["session_id"] and not one.lost), None)
        if asked["token"] != TOKEN:
            return link.close(BAD_TOKEN)
        if session is None:
            return self._send(link, {"op": INVALID, "d": False})
        missed = session.said[asked["seq"] :]
        self._attach(link, session)
        for frame in missed:
            link.send(frame)
        session.tell("RESUMED", {"_trace": []})
        return None

    def _attach(self, link: Link, session: Session) -> None:
        link.silent = link.silent or self.mute
        link.session, session.link = session, link

    # ---- what happens to them

    def dispatch(self, event: str, data: Json) -> None:
        """Tell every session that is alive; those without a connection hear it when they resume."""
        if not self._visible(event, data):
            return
        for session in list(self.sessions):
            seen = session.sees(event, data) if session.hears(event, data) else None
            if session.link is not None and self.mute:
                session.link.silent = True
            if seen is None or (session.lost and session.link is None):
                continue
            for _ in range(2 if self.duplicate and event == "MESSAGE_CREATE" else 1):
                session.tell(event, seen)
        self.changed()

    def _visible(self, event: str, data: Json) -> bool:
        """A bot hears nothing from a channel that it may not view."""
        guild = self.api.guild
        if not event.startswith("MESSAGE") or "guild_id" not in data:
            return True
        channel = guild.channels.get(data["channel_id"])
        return not guild.left and (channel is None or guild.may("view_channel", channel))

    def listening(self) -> bool:
        """Whether somebody hears a dispatch now."""
        return any(session.link is not None and not session.link.silent for session in self.sessions)

    def poison(self) -> None:
        """A message without an id: discord.py's parser raises a KeyError."""
        for session in self.sessions:
            session.tell("MESSAGE_CREATE", {"channel_id": GENERAL, "guild_id": GUILD, "content": "?", "type": 0})

    def lose_sessions(self) -> None:
        for session in list(self.sessions):
            session.lost = True
            if session.link is None:
                self.sessions.remove(session)

    def broadcast(self, op: int, data: Any) -> list[Link]:
        for link in self.links:
            link.send({"op": op, "d": data})
        return list(self.links)
