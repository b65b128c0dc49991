"""The addresses of the web chat."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path

from jinja2 import Environment
from markupsafe import Markup
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from adapters.web import inbound
from adapters.web.adapter import WebPlatform, new_id
from adapters.web.config import CHANNELS, ENTRIES_MOST, ENTRIES_SHOWN, FORM, THREADS_SHOWN, WebConfig
from adapters.web.downloads import Downloads
from adapters.web.login import Login
from adapters.web.security import Door, Sessions, TooLarge, session_of
from bot.errors import Refused
from bot.model import Attachment, Receipt, ThreadKey
from bot.text import file_name, size_words, title_of

TITLE_CHARS = 80
EMPTY = "Your message is empty. Tell me what to do, or send a file."


class Pages:
    """One method an address."""

    def __init__(
        self,
        platform: WebPlatform,
        config: WebConfig,
        environment: Environment,
        sessions: Sessions,
        clock: Callable[[], datetime],
    ) -> None:
        self._platform = platform
        self._config = config
        self._environment = environment
        self._clock = clock
        self._sessions = sessions

    def app(self) -> Starlette:
        """The ASGI application."""
        thread = "/c/{channel}/t/{thread}"
        downloads = Downloads(self._platform.artifacts)
        login = Login(self._environment, self._sessions, self._config.token)
        return Starlette(
            routes=[
                Route("/", self._home),
                Route("/healthz", self._health),
                Route("/login", login.page, methods=["GET", "POST"]),
                Route("/c/{channel}", self._channel),
                Route("/c/{channel}/messages", self._begin, methods=["POST"]),
                Route(thread, self._thread),
                Route(f"{thread}/events", self._events),
                Route(f"{thread}/messages", self._reply, methods=["POST"]),
                Route(f"{thread}/stop", self._stop, methods=["POST"]),
                Route(f"{thread}/retry/{{turn}}", self._retry, methods=["POST"]),
                Route("/artifacts/{id}", downloads.file),
                Route("/artifacts/{id}/sealed", downloads.sealed),
                Mount("/static", StaticFiles(directory=Path(__file__).parent / "static")),
            ],
            middleware=[Middleware(Door, config=self._config, sessions=self._sessions)],
            exception_handlers={
                LookupError: _words(404, "There is nothing here."),
                Refused: _refused,
                TooLarge: _words(413, "That is too much at once."),
            },
        )

    async def _home(self, request: Request) -> Response:
        return RedirectResponse(f"/c/{CHANNELS[0]}")

    async def _health(self, request: Request) -> Response:
        return PlainTextResponse("ok")

    async def _channel(self, request: Request) -> Response:
        channel = request.path_params["channel"]
        if channel not in CHANNELS:
            raise LookupError(channel)
        title = "Direct" if channel == "direct" else f"# {channel}"
        return await self._page(request, channel, title)

    async def _thread(self, request: Request) -> Response:
        key, most = _key(request), _most(request)
        token = self._platform.listeners.expect(key)  # before the thread is read: no change falls between
        entries = await self._platform.entries(key, most)
        if not entries:
            raise LookupError(key.thread)
        title = title_of(entries[0].message.text, TITLE_CHARS) or "Files"
        events = f"/c/{key.channel}/t/{key.thread}/events?page={token}{'&earlier' if most > ENTRIES_SHOWN else ''}"
        html = await self._platform.html(key, entries, most)
        return await self._page(request, key.channel, title, thread=key.thread, entries=html, events=events)

    async def _page(
        self, request: Request, channel: str, title: str, *, thread: str = "", entries: str = "", events: str = ""
    ) -> Response:
        summaries = await self._platform.history.threads(self._platform.name, channel, THREADS_SHOWN)
        first = next((item.title for item in summaries if item.key.thread == thread), title)
        address = f"/c/{channel}/t/{thread}/messages" if thread else f"/c/{channel}/messages"
        html = self._environment.get_template("page.html").render(
            csrf=self._sessions.csrf(session_of(request)),
            channels=CHANNELS,
            channel=channel,
            thread=thread,
            title=first,  # of the thread's first message, which may be left out
            threads=summaries,
            events=events,
            entries=Markup(entries),  # noqa: S704 - rendered by our own templates
            mention="" if channel == "direct" else "@threadbox ",
            post_to=address,
        )
        return HTMLResponse(html)

    async def _begin(self, request: Request) -> Response:
        key = inbound.thread_key(request.path_params["channel"], new_id())
        receipt = await self._take(request, key)
        if receipt.kind == "command":  # which begins no thread: its answer goes to the page that it came from
            answer = await self._platform.note(receipt.answer)
            return HTMLResponse(answer, headers={"HX-Retarget": "#entries", "HX-Reswap": "beforeend"})
        await self._platform.say(key, receipt.answer)
        return Response(headers={"HX-Redirect": f"/c/{key.channel}/t/{key.thread}"})

    async def _reply(self, request: Request) -> Response:
        key = _key(request)
        receipt = await self._take(request, key)
        await self._platform.say(key, receipt.answer)
        return Response(status_code=204)

    async def _take(self, request: Request, key: ThreadKey) -> Receipt:
        async with request.form(**FORM) as form:
            text = str(form.get("text") or "")
            uploads = [item for item in form.getlist("files") if isinstance(item, UploadFile) and item.filename]
            if not text.strip() and not uploads:
                raise Refused(EMPTY)
            message = inbound.message(
                key,
                text,
                message_id=new_id(),
                person=session_of(request),
                now=self._clock(),
                attachments=tuple(self._described(upload) for upload in uploads),
            )
            if uploads:
                await self._platform.intake.check(message)  # what is refused leaves no files behind
            kept = [await self._platform.keep_upload(upload.filename or "", await upload.read()) for upload in uploads]
        return await self._platform.take(replace(message, attachments=tuple(kept)))

    def _described(self, upload: UploadFile) -> Attachment:
        limit, size = self._config.upload_bytes, upload.size or 0
        name = file_name(upload.filename or "")
        if size > limit:
            raise Refused(f"{name} has {size_words(size)}; I take {size_words(limit)} a file.")
        return Attachment(name=name, size=size, source="")

    async def _stop(self, request: Request) -> Response:
        await self._platform.stop(_key(request))
        return Response(status_code=204)

    async def _retry(self, request: Request) -> Response:
        await self._platform.retry(request.path_params["turn"])
        return Response(status_code=204)

    async def _events(self, request: Request) -> Response:
        key, token = _key(request), request.query_params.get("page", "")
        snapshot = partial(self._platform.snapshot, key, _most(request))
        events = self._platform.listeners.listen(key, token, snapshot)  # refuses here, before anything is sent
        return StreamingResponse(events, media_type="text/event-stream")


def _key(request: Request) -> ThreadKey:
    return inbound.thread_key(request.path_params["channel"], request.path_params["thread"])


def _most(request: Request) -> int:
    return ENTRIES_MOST if "earlier" in request.query_params else ENTRIES_SHOWN


def _words(status: int, text: str) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answer(request: Request, error: Exception) -> Response:
        return PlainTextResponse(text, status)

    return answer


async def _refused(request: Request, error: Exception) -> Response:
    return PlainTextResponse(str(error), 422)
