"""An OpenAI-compatible HTTP server on loopback that answers from a script: the real client talks to it.

A script is a list; each request takes the next item: a string (text), a `Call`, a `Fault`, a `Held`, or a
function of the request that returns one of them. Past the end it answers "Done.".
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route


@dataclass(frozen=True)
class Call:
    """Tool calls: (name, arguments), arguments as a mapping or as raw text."""

    calls: list[tuple[str, Any]]
    text: str = ""


@dataclass(frozen=True)
class Fault:
    """A failure: an HTTP status with what the server says of it, or `hang`, `slow` (a word every 0.2 s), `silent` (not a byte), `newlines`, `garbage` and
    `page` (no JSON), `unreadable` (JSON, then none), `half` (a stream that ends too early), `cut` (a broken one)."""

    status: int = 0
    kind: str = ""
    error: dict[str, str] = field(default_factory=lambda: {"message": "scripted", "type": "scripted"})


@dataclass(frozen=True)
class Held:
    """A reply of which no word comes before the test says so."""

    then: str | Call | Fault = "Done."
    go: threading.Event = field(default_factory=threading.Event)

    def release(self) -> None:
        self.go.set()

    async def released(self) -> str | Call | Fault:
        while not self.go.is_set():
            await asyncio.sleep(0.005)
        return self.then


@dataclass(frozen=True)
class Cut:
    """A reply that ends at the bound on its tokens."""

    text: str


Item = str | Call | Fault | Held | Cut
Script = list[Item | Callable[[dict[str, Any]], Item]]


def python(code: str, text: str = "") -> Call:
    """One call of the tool `python`."""
    return Call([("python", {"code": code})], text)


@dataclass
class ModelServer:
    """The server's address, what it will say and what it was asked."""

    url: str = ""
    script: Script = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    queries: list[str] = field(default_factory=list)

    def next(self, body: dict[str, Any]) -> Item:
        self.requests.append(body)
        item = self.script.pop(0) if self.script else "Done."
        return item(body) if callable(item) else item

    async def asked(self, count: int = 1) -> None:
        """Return once so many requests have come."""
        while len(self.requests) < count:
            await asyncio.sleep(0.005)

    async def chat(self, request: Request) -> Response:
        body = await request.json()
        self.queries.append(request.url.query)
        item = self.next(body)
        if isinstance(item, Held) and isinstance(item.then, Fault):  # whose status comes first
            item = await item.released()
        if isinstance(item, Fault) and item.status:
            # a server may say when to come again; without it the client waits for half a second and longer
            soon = {"retry-after-ms": "10"}
            return JSONResponse({"error": item.error}, item.status, soon)
        if isinstance(item, Fault) and item.kind in PAGES:
            return Response(b"<html>gateway</html>", media_type=PAGES[item.kind])
        if isinstance(item, Fault) and item.kind == "silent":
            await asyncio.sleep(60)
        if not body.get("stream"):
            return JSONResponse(_whole(item))
        return StreamingResponse(_events(item), media_type="text/event-stream")

    async def models(self, request: Request) -> Response:
        return JSONResponse({"data": [{"id": "scripted", "object": "model"}]})


PAGES = {"garbage": "text/event-stream", "page": "text/html"}
USAGE = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}


def _whole(item: Item) -> dict[str, Any]:
    """A reply in one piece, for a client that does not stream."""
    message: dict[str, Any] = {"role": "assistant", "content": item if isinstance(item, str) else None}
    if isinstance(item, Call):
        message["tool_calls"] = [_tool_call(index, *call) for index, call in enumerate(item.calls)]
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if isinstance(item, Call) else "stop"}
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "scripted",
        "choices": [choice],
        "usage": USAGE,
    }


def _tool_call(index: int, name: str, arguments: Any) -> dict[str, Any]:
    raw = arguments if isinstance(arguments, str) else json.dumps(arguments)
    function = {"name": name, "arguments": raw}
    return {"index": index, "id": f"call_{time.monotonic_ns()}_{index}", "type": "function", "function": function}


async def _events(item: Item) -> AsyncIterator[bytes]:
    if isinstance(item, Held):
        item = await item.released()
    async for event in _fault(item) if isinstance(item, Fault) else _reply(item):
        yield event


async def _reply(item: str | Call | Cut) -> AsyncIterator[bytes]:
    if isinstance(item, Cut):
        yield _chunk({"content": item.text})
        yield _chunk({}, "length")
    elif isinstance(item, str):
        size = max(7, len(item) // 100)
        for start in range(0, len(item), size):
            yield _chunk({"content": item[start : start + size]})
        yield _chunk({}, "stop")
    else:
        if item.text:
            yield _chunk({"content": item.text})
        for index, call in enumerate(item.calls):
            yield _chunk({"tool_calls": [_tool_call(index, *call)]})
        yield _chunk({}, "tool_calls")
    yield _line(
        {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "scripted", "choices": [], "usage": USAGE}
    )
    yield b"data: [DONE]\n\n"


async def _fault(fault: Fault) -> AsyncIterator[bytes]:
    match fault.kind:
        case "hang":
            yield _chunk({"content": "Let me think"})
            await asyncio.sleep(60)
        case "slow":
            for _ in range(300):
                yield _chunk({"content": "word "})
                await asyncio.sleep(0.2)
        case "newlines":
            for _ in range(5000):
                yield _chunk({"content": "\n"})
        case kind:
            yield _chunk({"content": "half an"})
            if kind == "cut":
                raise ConnectionResetError
            if kind == "unreadable":
                yield b"data: {not json\n\n"


def _chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return _line({"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "scripted", "choices": [choice]})


def _line(value: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(value)}\n\n".encode()


@contextmanager
def model_server(script: Script | None = None, port: int = 0) -> Iterator[ModelServer]:
    """A running server, in a thread of its own with a loop of its own."""
    scripted = ModelServer(script=script or [])
    routes = [
        Route("/v1/chat/completions", scripted.chat, methods=["POST"]),
        Route("/v1/models", scripted.models),
    ]
    config = uvicorn.Config(Starlette(routes=routes), port=port, log_level="critical", timeout_graceful_shutdown=0)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    scripted.url = f"http://127.0.0.1:{port}/v1"
    try:
        yield scripted
    finally:
        server.should_exit = True
        thread.join(5)


if __name__ == "__main__":
    with model_server([python("print(6 * 7)", "Let me compute."), "It is **42**."]) as running:
        print(running.url, flush=True)
        time.sleep(3600)
