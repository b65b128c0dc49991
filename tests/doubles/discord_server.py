"""A loopback Discord: REST over HTTP and the gateway over WebSocket. The real discord.py talks to it.

Every request is held against Discord's own description; what it finds is in `violations`.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from aiohttp import BodyPartReader, web

from tests.doubles.discord_api import DiscordApi, Fault
from tests.doubles.discord_channels import Call
from tests.doubles.discord_gateway import INVALID, RECONNECT, TOKEN, Gateway, Link
from tests.doubles.discord_guild import ApiError
from tests.doubles.discord_messages import Files
from tests.doubles.discord_schema import check, have_spec

Json = dict[str, Any]

PREFIX = "/api/v10"
LOOK_AGAIN_SECONDS = 0.02
_OPEN = ("/webhooks/", "/interactions/")
"""The token in the path is all that these ask for."""


def _gateway_switch(name: str) -> property:
    """A switch of the gateway that tests reach from the server."""
    return property(lambda self: getattr(self.gateway, name), lambda self, value: setattr(self.gateway, name, value))


class DiscordServer:
    """Discord itself, and what can go wrong with it."""

    refuse_connects = _gateway_switch("refuse_connects")
    """How many of the next connections are dropped as soon as they are there."""
    mute = _gateway_switch("mute")
    """Connections are accepted and nothing is said on them any more."""
    duplicate = _gateway_switch("duplicate")
    """Every MESSAGE_CREATE comes twice."""
    heartbeat_ms = _gateway_switch("heartbeat_ms")
    connects = _gateway_switch("connects")
    identifies = _gateway_switch("identifies")
    resumes = _gateway_switch("resumes")

    def __init__(self) -> None:
        self.api = DiscordApi()
        self.gateway = Gateway(self.api, self.changed)
        self.url = ""
        self.limited = True
        """Whether requests are counted and the bot is told of limits; off: as fast as it can."""
        self.faults: dict[tuple[str, str], deque[Fault]] = defaultdict(deque)
        self.violations: list[str] = []
        self.requests: list[tuple[str, str, Any]] = []
        self._event = asyncio.Event()
        self.api.guild.tell = self.gateway.dispatch

    @property
    def api_url(self) -> str:
        return f"{self.url}{PREFIX}"

    @property
    def gateway_url(self) -> str:
        return f"{self.url.replace('http', 'ws', 1)}/gateway"

    def as_new(self) -> None:
        """Everything that people and the bot said is forgotten; connections and commands stay."""
        self.api.as_new()
        for forgotten in (self.faults, self.violations, self.requests):
            forgotten.clear()

    # ---- REST

    async def rest(self, request: web.Request) -> web.StreamResponse:
        path = request.path.removeprefix(PREFIX)
        body, files = await _read(request)
        self.requests.append((request.method, path, body))
        file_bytes = self.api.messages.file_bytes
        self.violations += check(request.method, path, body, list(files.values()), file_bytes=file_bytes)
        if not path.startswith(_OPEN) and request.headers.get("Authorization") != f"Bot {TOKEN}":
            return _json({"code": 0, "message": "401: Unauthorized"}, 401)
        found = self.api.match(request.method, path)
        if found is None:
            self.violations.append(f"{request.method} {path}: the double has no such route")
            return _json({"code": 0, "message": "404: Not Found"}, 404)
        template, ids, handler = found
        call = Call(request.method, template, ids, request.query, body, files)
        waiting = self.faults[request.method, template]
        if waiting and (answer := self._fail(request, waiting.popleft(), handler, call)) is not None:
            return answer
        return self._carry_out(handler, call)

    def _carry_out(self, handler: Callable[[Call], Any], call: Call) -> web.StreamResponse:
        headers, refusal = {}, None
        if self.limited:
            headers, refusal = self.api.rates.take(call.method, call.template, call.channel_id)
        if refusal is not None and self.api.enforce:
            return _json(refusal, 429, {**headers, "Via": "1.1 google", "Retry-After": f"{refusal['retry_after']:g}"})
        try:
            answer = handler(call)
        except ApiError as error:
            return _json({"code": error.code, "message": error.text}, error.status, headers)
        except Exception as error:
            self.violations.append(f"{call.method} {call.template}: the double broke: {error!r}")
            raise
        finally:
            self.changed()
        made = call.method == "POST" and call.template.endswith("/threads")
        return (
            web.Response(status=204, headers=headers)
            if answer is None
            else _json(answer, 201 if made else 200, headers)
        )

    def _fail(
        self, request: web.Request, fault: Fault, handler: Callable[[Call], Any], call: Call
    ) -> web.StreamResponse | None:
        match fault:
            case Fault("status", status):
                return web.Response(status=int(status), text="upstream")
            case Fault("error", (status, code)):
                return _json({"code": code, "message": "Error"}, status)
            case Fault("429_via", seconds):
                told = {"message": "You are being rate limited.", "retry_after": seconds, "global": False}
                return _json(told, 429, {"Via": "1.1 google", "Retry-After": f"{seconds:g}"})
            case Fault("429_banned"):
                return web.Response(status=429, text="error code: 1015")
            case Fault("cut_after"):
                self._carry_out(handler, call)
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    async def attachment(self, request: web.Request) -> web.Response:
        data = self.api.messages.bytes.get(request.match_info["file"])
        if data is None or self.api.expired:
            return web.Response(status=404)
        return web.Response(body=data, content_type="application/octet-stream")

    # ---- faults of the gateway

    async def reconnect(self) -> None:
        """Discord asks for a new connection, and closes this one."""
        for link in self.gateway.broadcast(RECONNECT, None):
            link.close(4000)
        await self._until_gone(list(self.gateway.links))

    async def invalidate(self, resumable: bool) -> None:
        """Discord says that the session is no good; not `resumable`: it forgets it."""
        if not resumable:
            self.gateway.lose_sessions()
        await self._until_gone(self.gateway.broadcast(INVALID, resumable))

    async def drop(self) -> None:
        """The network is gone for a moment."""
        links = list(self.gateway.links)
        for link in links:
            link.abort()
        await self._until_gone(links)

    async def poison(self) -> None:
        """A dispatch on which a parser of discord.py raises."""
        self.gateway.poison()

    def lose_sessions(self) -> None:
        """The next RESUME is refused; what is said until then is never told."""
        self.gateway.lose_sessions()

    async def _until_gone(self, links: list[Link]) -> None:
        await self.until(lambda: not set(links) & set(self.gateway.links), 10)

    # ---- what happens

    def changed(self) -> None:
        self._event.set()

    async def until(self, predicate: Callable[[], Any], seconds: float = 60) -> Any:
        """The first true value of `predicate`, which may look at the bot as well: that tells nobody when it changes."""
        async with asyncio.timeout(seconds):
            while not (found := predicate()):
                self._event.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._event.wait(), LOOK_AGAIN_SECONDS)
        return found


async def _read(request: web.Request) -> tuple[Any, Files]:
    """The JSON of a request, and its files by number."""
    if request.content_type != "multipart/form-data":
        raw = await request.read()
        return (json.loads(raw) if raw else None), {}
    body, files = None, {}
    async for part in await request.multipart():
        assert isinstance(part, BodyPartReader)
        data = bytes(await part.read())
        if part.name == "payload_json":
            body = json.loads(data)
        else:
            files[int(str(part.name).removeprefix("files[").rstrip("]"))] = (str(part.filename), data)
    return body, files


def _json(answer: Any, status: int, headers: dict[str, str] | None = None) -> web.Response:
    """discord.py parses an answer only if its type is exactly this, without a charset."""
    content = {"Content-Type": "application/json", **(headers or {})}
    return web.Response(body=json.dumps(answer).encode(), status=status, headers=content)


@asynccontextmanager
async def discord_server(port: int = 0) -> AsyncIterator[DiscordServer]:
    """A running server on loopback. Raises FileNotFoundError if Discord's description is promised and not there."""
    have_spec()
    server = DiscordServer()
    app = web.Application(client_max_size=1 << 28)
    app.router.add_get("/gateway", server.gateway.serve)
    app.router.add_get("/gateway/", server.gateway.serve)
    app.router.add_get("/attachments/{channel}/{file}/{name}", server.attachment)
    app.router.add_route("*", PREFIX + "/{path:.*}", server.rest)
    runner = web.AppRunner(app, shutdown_timeout=0.5, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    server.gateway.url = server.api.gateway_url = server.gateway_url
    server.api.messages.url = server.url
    try:
        yield server
    finally:
        for link in list(server.gateway.links):
            link.abort()
        await runner.cleanup()


__all__ = ["TOKEN", "DiscordServer", "Fault", "discord_server"]
