"""Who may talk to the web chat: any page on the internet can send requests to a loopback port.

Every request must name a host that is ours; every POST must come from our own page (Origin) and carry the token that
only our own page can read; where the chat listens beyond loopback, a session must have shown the operator's token.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request, cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adapters.web.config import LOOPBACK, WebConfig

COOKIE = "threadbox"
COOKIE_SECONDS = 30 * 24 * 3600
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; frame-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
OPEN_PATHS = ("/static/", "/login", "/healthz")


class Sessions:
    """Random session ids, signed. A new key or a new token of the operator's signs everybody out."""

    def __init__(self, key: bytes, token: str | None) -> None:
        self._key = hmac.new(key, (token or "").encode(), hashlib.sha256).digest()

    def new(self, *, known: bool) -> str:
        """A cookie value; `known` when the operator's token was shown."""
        session = secrets.token_urlsafe(18)
        return f"{session}.{self._sign('known' if known else 'guest', session)}"

    def person(self, cookie: str, *, known: bool) -> str | None:
        """The session id of a cookie value that we signed."""
        session, _, signature = cookie.rpartition(".")
        wanted = self._sign("known" if known else "guest", session)
        return session if session and hmac.compare_digest(signature, wanted) else None

    def csrf(self, session: str) -> str:
        """The token that our page sends back with every POST of this session."""
        return self._sign("csrf", session)

    def _sign(self, purpose: str, session: str) -> str:
        return hmac.new(self._key, f"{purpose}:{session}".encode(), hashlib.sha256).hexdigest()


class Door:
    """ASGI middleware: lets in what may come in, and puts the policy on what goes out."""

    def __init__(self, app: ASGIApp, config: WebConfig, sessions: Sessions) -> None:
        self._app = app
        self._config = config
        self._sessions = sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, self._with_policy(send, None))
            return
        cookie = None
        session = self._session(scope)
        if session is None:
            cookie = self._sessions.new(known=False)
            session = cookie.partition(".")[0]
        scope["state"]["session"] = session
        await self._app(scope, _bounded(receive, self._config.body_bytes), self._with_policy(send, cookie))

    def _session(self, scope: Scope) -> str | None:
        value = cookie_parser(Headers(scope=scope).get("cookie", "")).get(COOKIE, "")
        known = self._sessions.person(value, known=True)
        return known or self._sessions.person(value, known=False)

    def _is_known(self, scope: Scope) -> bool:
        value = cookie_parser(Headers(scope=scope).get("cookie", "")).get(COOKIE, "")
        return self._sessions.person(value, known=True) is not None

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self._config.host in LOOPBACK and _name(host) not in LOOPBACK:
            return PlainTextResponse(f"{host[:80]} is not an address of this chat.", 421)
        if int(headers.get("content-length") or 0) > self._config.body_bytes:
            most = self._config.upload_bytes // (1 << 20)
            return PlainTextResponse(f"That is too much at once: a file may have {most} MB.", 413)
        if scope["method"] not in ("GET", "HEAD"):
            return self._refused_post(scope, headers, host)
        if self._config.token and not self._is_known(scope) and not scope["path"].startswith(OPEN_PATHS):
            return RedirectResponse("/login", 303)
        return None

    def _refused_post(self, scope: Scope, headers: Headers, host: str) -> Response | None:
        origin = headers.get("origin", "")
        if origin.partition("://")[2] != host:
            return PlainTextResponse("This request does not come from the chat's own page.", 403)
        if scope["path"] == "/login":
            return None  # its token is in the form
        if self._config.token and not self._is_known(scope):
            return PlainTextResponse("Sign in first.", 401)
        session = self._session(scope)
        token = headers.get("x-csrf-token", "")
        if session is None or not hmac.compare_digest(token, self._sessions.csrf(session)):
            return PlainTextResponse("This page is from an earlier start of Threadbox: reload it.", 403)
        return None

    @staticmethod
    def _with_policy(send: Send, cookie: str | None) -> Send:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("Content-Security-Policy", PAGE_POLICY)
                headers.setdefault("X-Content-Type-Options", "nosniff")
                # not no-referrer: with it a browser sends our own login form from the origin `null`
                headers.setdefault("Referrer-Policy", "same-origin")
                headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
                headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
                headers.setdefault("Cache-Control", "no-store")
                if cookie is not None:
                    headers.append("Set-Cookie", cookie_header(cookie))
            await send(message)

        return sending


def cookie_header(value: str) -> str:
    """The session cookie. Lax, not Strict: a link from elsewhere would come without it and sign its reader out.

    No POST is let in for the cookie's sake alone, so that a link is all another site can make of it.
    """
    return f"{COOKIE}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={COOKIE_SECONDS}"


def is_token(given: str, token: str | None) -> bool:
    """Whether a person showed the operator's token."""
    return token is not None and hmac.compare_digest(given.encode(), token.encode())


def session_of(request: Request) -> str:
    """The session of a request that came through the door."""
    return str(request.state.session)


def _name(host: str) -> str:
    name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    return name.strip("[]").lower()


class TooLarge(Exception):
    """A body without a length turned out too long."""


def _bounded(receive: Receive, limit: int) -> Receive:
    left = limit

    async def receiving() -> Message:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise TooLarge
        return message

    return receiving
