"""A loopback Slack: the Web API over HTTP, and deliveries by Socket Mode or signed HTTP. The real slack-bolt talks to it."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import itertools
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import aiohttp
from aiohttp import WSMsgType, web

from tests.doubles.slack_api import BOT_USER, TEAM, ApiError, Fault, SlackApi

Json = dict[str, Any]

BOT_TOKEN, APP_TOKEN, SECRET = "xoxb-test-token", "xapp-test-token", "signing-secret"
REDELIVER_SECONDS = 3.0


@dataclass
class SlackServer:
    """Drives people and Slack itself."""

    api: SlackApi
    sockets: list[web.WebSocketResponse] = field(default_factory=list)
    acks: dict[str, asyncio.Future[Json]] = field(default_factory=dict)
    ack_seconds: list[float] = field(default_factory=list)
    events_url: str = ""
    """Where deliveries go by HTTP; empty: by Socket Mode."""
    connections: int = 0
    refuse_sockets: bool = False
    mute: bool = False
    """Accepts sockets and says nothing on them, not even a pong."""
    responses: list[Json] = field(default_factory=list)
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    _numbers: Any = field(default_factory=lambda: itertools.count(1))
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def as_new(self) -> None:
        """Everything that people and the bot did is forgotten; connections stay."""
        fresh = SlackApi(url=self.api.url, changed=self.api.changed)
        fresh._last_ts = self.api._last_ts
        self.api.__dict__.update(fresh.__dict__)
        self.ack_seconds.clear()
        self.responses.clear()

    # ---- the Web API

    async def api_call(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        if request.content_type == "application/json":
            arguments = await request.json()
        else:
            arguments = {name: value for name, value in (await request.post()).items()}
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if method == "apps.connections.open":
            return web.json_response(self._open() if token == APP_TOKEN else {"ok": False, "error": "invalid_auth"})
        if token != BOT_TOKEN:
            return web.json_response({"ok": False, "error": "invalid_auth"})
        fault = self.api.faults[method].popleft() if self.api.faults[method] else None
        return await self._answer(request, method, arguments, fault)

    async def _answer(
        self, request: web.Request, method: str, arguments: Json, fault: Fault | None
    ) -> web.StreamResponse:
        match fault:
            case Fault("ratelimited", seconds):
                return web.json_response({"ok": False, "error": "ratelimited"}, status=429,
                                         headers={"Retry-After": f"{seconds:g}"})  # fmt: skip
            case Fault("status", status):
                return web.Response(status=int(status), text="upstream")
            case Fault("cut"):
                return self._cut(request)
            case Fault("cut_after"):
                self.api.call(method, arguments)
                return self._cut(request)
            case Fault(word):
                return web.json_response({"ok": False, "error": word})
        try:
            scopes = {"x-oauth-scopes": ",".join(self.api.scopes)}
            return web.json_response(self.api.call(method, arguments), headers=scopes)
        except ApiError as error:
            return web.json_response({"ok": False, "error": str(error)})

    def _cut(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async def upload(self, request: web.Request) -> web.Response:
        self.api.bytes[request.match_info["file"]] = await request.read()
        return web.Response(text="OK")

    async def download(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {BOT_TOKEN}":
            return web.Response(status=403)
        return web.Response(body=self.api.bytes[request.match_info["file"]], content_type="application/octet-stream")

    async def respond(self, request: web.Request) -> web.Response:
        self.responses.append(await request.json())
        self.changed()
        return web.Response(text="ok")

    # ---- Socket Mode

    def _open(self) -> Json:
        if self.refuse_sockets:
            return {"ok": False, "error": "internal_error"}
        return {"ok": True, "url": f"{self.api.url.replace('http', 'ws')}/socket"}

    async def socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(autoping=not self.mute)
        await socket.prepare(request)
        self.connections += 1
        if not self.mute:
            await socket.send_json({"type": "hello", "num_connections": 1, "connection_info": {"app_id": "A1"}})
            self.sockets.append(socket)
        self.changed()
        async for frame in socket:
            if frame.type == WSMsgType.TEXT:
                answer = json.loads(frame.data)
                future = self.acks.pop(answer.get("envelope_id", ""), None)
                if future is not None and not future.done():
                    future.set_result(answer)
        if socket in self.sockets:
            self.sockets.remove(socket)
        self.changed()
        return socket

    async def disconnect(self, reason: str = "refresh_requested") -> None:
        """What Slack sends before it closes."""
        for socket in list(self.sockets):
            await socket.send_json({"type": "disconnect", "reason": reason})
            await socket.close()

    # ---- deliveries

    async def deliver(self, kind: str, payload: Json, *, tries: int = 3) -> Json:
        """One delivery, made again like Slack's until it is acknowledged; what was answered."""
        for attempt in range(tries):
            began = time.monotonic()
            try:
                answer = await self._deliver(kind, payload, attempt)
            except (TimeoutError, ConnectionError, aiohttp.ClientError):
                await asyncio.sleep(0.2)
                continue
            self.ack_seconds.append(time.monotonic() - began)
            return answer
        raise TimeoutError(f"{kind} was never acknowledged")

    async def _deliver(self, kind: str, payload: Json, attempt: int) -> Json:
        if self.events_url:
            return await self._deliver_http(kind, payload)
        envelope = f"e{next(self._numbers)}"
        while not self.sockets:
            await self._next_change()
        future: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        self.acks[envelope] = future
        await self.sockets[-1].send_json(
            {"envelope_id": envelope, "type": kind, "payload": payload, "accepts_response_payload": True,
             "retry_attempt": attempt}
        )  # fmt: skip
        async with asyncio.timeout(REDELIVER_SECONDS):
            return await future

    async def _deliver_http(self, kind: str, payload: Json) -> Json:
        if kind == "events_api":
            body, content = json.dumps(payload), "application/json"
        else:
            fields = payload if kind == "slash_commands" else {"payload": json.dumps(payload)}
            body, content = urlencode(fields), "application/x-www-form-urlencoded"
        headers = {"Content-Type": content, **signed(body)}
        async with (
            aiohttp.ClientSession() as session,
            session.post(self.events_url, data=body, headers=headers) as response,
        ):
            if response.status != 200:
                raise ConnectionError(f"status {response.status}")
            text = await response.text()
        return {"payload": json.loads(text) if text.startswith("{") else text}

    def later(self, work: Any) -> asyncio.Task[Any]:
        """In the background, as Slack delivers."""
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def event(self, event: Json) -> None:
        """An Events API delivery."""
        number = next(self._numbers)
        payload = {"type": "event_callback", "team_id": TEAM, "api_app_id": "A1", "event_id": f"Ev{number}",
                   "event_time": int(time.time()), "event": event, "authorizations": []}  # fmt: skip
        await self.deliver("events_api", payload)

    # ---- what happens

    def changed(self) -> None:
        self._changed.set()

    async def _next_change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    async def until(self, check: Callable[[], Any], seconds: float = 60) -> Any:
        """The first true value of `check`."""
        async with asyncio.timeout(seconds):
            while not (found := check()):
                await self._next_change()
        return found


def signed(body: str, stamp: str | None = None) -> dict[str, str]:
    """Slack's headers for a body."""
    stamp = stamp or str(int(time.time()))
    digest = hmac.new(SECRET.encode(), f"v0:{stamp}:{body}".encode(), hashlib.sha256).hexdigest()
    return {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": f"v0={digest}"}


@asynccontextmanager
async def slack_server() -> AsyncIterator[SlackServer]:
    """A running server on loopback."""
    server = SlackServer(SlackApi())
    server.api.changed = server.changed
    app = web.Application(client_max_size=1 << 28)
    app.router.add_post("/api/{method}", server.api_call)
    app.router.add_get("/socket", server.socket)
    app.router.add_post("/upload/{file}", server.upload)
    app.router.add_get("/download/{file}", server.download)
    app.router.add_post("/respond", server.respond)
    runner = web.AppRunner(app, shutdown_timeout=0.5)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    server.api.url = f"http://127.0.0.1:{port}"
    try:
        yield server
    finally:
        for task in list(server.tasks):
            task.cancel()
        await asyncio.gather(*server.tasks, return_exceptions=True)
        for socket in list(server.sockets):
            await socket.close()
        await runner.cleanup()


__all__ = ["APP_TOKEN", "BOT_TOKEN", "BOT_USER", "SECRET", "SlackServer", "signed", "slack_server"]
