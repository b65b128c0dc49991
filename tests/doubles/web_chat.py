"""The web chat with a bot behind it, and a person who writes to it over HTTP in this process."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from adapters.web import Sessions, WebConfig
from adapters.web.adapter import WebPlatform
from adapters.web.config import ENTRIES_SHOWN
from adapters.web.outbound import Html, templates
from adapters.web.pages import Pages
from bot.errors import Stopped
from bot.model import IncomingMessage, Json, Person, Reply, Request, TextDone, ThreadKey, Turn
from bot.ports import TurnTools
from bot.store import SqlHistory, SqlInbox
from bot.views import Entry
from sandbox.service import SandboxService
from tests.doubles.bot import Parts, now, running_parts
from tests.doubles.process_engine import ProcessEngine

KEY = ThreadKey(platform="web", workspace="local", channel="direct", thread="0" * 12)
ADDRESS = "http://127.0.0.1:8080"
PAGE = f"/c/direct/t/{KEY.thread}"


class Slow:
    """An agent that answers at once, but "wait" when it is stopped."""

    async def answer(self, request: Request, memory: Json | None, tools: TurnTools) -> Json | None:
        if request.text == "wait":
            await tools.stop.wait()
            raise Stopped
        tools.emit(TextDone(text=f"answered {request.text}"))
        return None


class CountingHtml(Html):
    """Counts the replies that were rendered."""

    replies = 0

    def reply(self, reply: Reply, key: ThreadKey) -> str:
        self.replies += 1
        return super().reply(reply, key)


class CountingHistory(SqlHistory):
    """Counts how often a thread is read."""

    reads = 0

    async def entries(self, key: ThreadKey, limit: int) -> list[Entry]:
        self.reads += 1
        return await super().entries(key, limit)


@dataclass
class Chat:
    """What a test drives."""

    parts: Parts
    web: WebPlatform
    html: CountingHtml
    history: CountingHistory
    client: httpx.AsyncClient
    folder: Path
    csrf: str = ""

    async def post(self, address: str, text: str = "", files: dict[str, bytes] | None = None) -> httpx.Response:
        if not self.csrf:
            found = re.search(r'"X-CSRF-Token": "(\w+)"', (await self.client.get("/c/direct")).text)
            assert found is not None
            self.csrf = found[1]
        form = [("text", (None, text.encode())), *(("files", item) for item in (files or {}).items())]
        headers = {"Origin": ADDRESS, "X-CSRF-Token": self.csrf}
        return await self.client.post(address, files=form, headers=headers)

    async def begin(self, text: str, channel: str = "direct") -> str:
        """A new thread; its address."""
        answer = await self.post(f"/c/{channel}/messages", text)
        assert answer.status_code == 200, answer.text
        return answer.headers["HX-Redirect"]

    async def claim(self, number: int = 0, *, answer: bool = True) -> Turn | None:
        """A message of the thread KEY in the store, without a turn that runs."""
        message = IncomingMessage(
            key=KEY, message_id=f"{number:012x}", author=Person(id="p", name="you"), text=f"message {number}",
            sent_at=now(), for_us=True,
        )  # fmt: skip
        return await SqlInbox(self.parts.history._database, now).claim(message, answer=answer)

    def listen(self, token: str) -> AsyncIterator[bytes]:
        return self.web.listeners.listen(KEY, token, lambda: self.web.snapshot(KEY, ENTRIES_SHOWN))


@asynccontextmanager
async def web_chat(folder: Path, process_engine: ProcessEngine) -> AsyncIterator[Chat]:
    """One request of a person runs at a time."""
    service = SandboxService(process_engine)
    async with running_parts(folder, service, agent=Slow(), running_per_person=1) as parts:
        html = CountingHtml(templates())
        history = CountingHistory(parts.history._database)
        web = WebPlatform(html, parts.front.intake, parts.front.commands, history, parts.artifacts)
        parts.platforms["web"] = web
        config = WebConfig(host="127.0.0.1", port=8080, token=None, upload_bytes=1 << 20)
        pages = Pages(web, config, templates(), Sessions(b"k" * 32, None), now).app()

        async def app(scope: dict[str, object], receive: object, send: object) -> None:
            scope.setdefault("state", {})  # as uvicorn has it
            await pages(scope, receive, send)  # type: ignore[arg-type]

        transport = httpx.ASGITransport(app)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url=ADDRESS) as client:
            yield Chat(parts, web, html, history, client, folder)
