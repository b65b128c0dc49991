"""Who may come into the web chat."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from adapters.web.config import WebConfig
from adapters.web.login import STALE, WRONG, Login
from adapters.web.outbound import templates
from adapters.web.security import COOKIE, Door, Sessions
from bot.errors import ConfigurationError
from bot.kept_key import kept_key


def test_an_open_door_is_refused_at_start() -> None:
    with pytest.raises(ConfigurationError, match="THREADBOX_WEB_TOKEN"):
        WebConfig(host="0.0.0.0", port=1, token=None, upload_bytes=1)


@pytest.fixture
def sessions() -> Sessions:
    return Sessions(b"k" * 32, None)


@pytest.fixture
def browser(sessions: Sessions) -> Iterator[TestClient]:
    """A client of a small app behind the door."""

    async def page(request: Request) -> PlainTextResponse:
        await request.body()
        return PlainTextResponse("in")

    config = WebConfig(host="127.0.0.1", port=0, token=None, upload_bytes=1000)
    app = Starlette(
        routes=[Route("/", page, methods=["GET", "POST"])],
        middleware=[Middleware(Door, config=config, sessions=sessions)],
    )
    with TestClient(app, base_url="http://127.0.0.1:8080") as client:
        yield client


def csrf(browser: TestClient, sessions: Sessions) -> str:
    browser.get("/")
    return sessions.csrf(browser.cookies[COOKIE].partition(".")[0])


def test_a_post_from_our_own_page_is_let_in(browser: TestClient, sessions: Sessions) -> None:
    headers = {"Origin": "http://127.0.0.1:8080", "X-CSRF-Token": csrf(browser, sessions)}

    assert browser.post("/", headers=headers).text == "in"


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "", "http://127.0.0.1:8081"])
def test_a_post_from_another_page_is_refused(browser: TestClient, sessions: Sessions, origin: str) -> None:
    headers = {"Origin": origin, "X-CSRF-Token": csrf(browser, sessions)}

    assert browser.post("/", headers=headers).status_code == 403


def test_a_post_without_our_token_is_refused(browser: TestClient) -> None:
    browser.get("/")

    assert browser.post("/", headers={"Origin": "http://127.0.0.1:8080", "X-CSRF-Token": "x"}).status_code == 403


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example"])
def test_a_name_that_was_rebound_to_loopback_is_refused(browser: TestClient, host: str) -> None:
    assert browser.get("/", headers={"Host": host}).status_code == 421


def test_a_large_body_is_refused_before_it_is_read(browser: TestClient, sessions: Sessions) -> None:
    headers = {"Origin": "http://127.0.0.1:8080", "X-CSRF-Token": csrf(browser, sessions)}

    answer = browser.post("/", headers=headers, content=b"x" * (2 << 20))

    assert answer.status_code == 413


def test_pages_forbid_what_is_not_ours(browser: TestClient) -> None:
    policy = browser.get("/").headers["content-security-policy"]

    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


def test_beyond_loopback_the_operators_token_is_asked_for(sessions: Sessions) -> None:
    async def page(request: Request) -> PlainTextResponse:
        return PlainTextResponse("in")

    config = WebConfig(host="0.0.0.0", port=0, token="secret", upload_bytes=1000)
    app = Starlette(routes=[Route("/", page)], middleware=[Middleware(Door, config=config, sessions=sessions)])
    with TestClient(app, base_url="http://chat.example", follow_redirects=False) as client:
        assert client.get("/").headers["location"] == "/login"
        client.cookies.set(COOKIE, sessions.new(known=False))
        assert client.get("/").status_code == 303
        client.cookies.clear()
        client.cookies.set(COOKIE, sessions.new(known=True))
        assert client.get("/").text == "in"


def test_a_session_outlives_the_process_and_ends_with_the_key_or_the_token() -> None:
    cookie = Sessions(b"k" * 32, "secret").new(known=True)

    assert Sessions(b"k" * 32, "secret").person(cookie, known=True) == cookie.partition(".")[0]
    assert Sessions(b"k" * 32, "another").person(cookie, known=True) is None
    assert Sessions(b"x" * 32, "secret").person(cookie, known=True) is None


def test_the_key_is_made_once_and_is_for_nobody_elses_eyes(tmp_path: Path) -> None:
    path = tmp_path / "web.key"

    first, again = kept_key(path), kept_key(path)

    assert (first, len(first)) == (again, 32)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [item.name for item in tmp_path.iterdir()] == ["web.key"]


@pytest.mark.parametrize("half", [b"", b"x" * 31])
def test_half_a_key_is_none(tmp_path: Path, half: bytes) -> None:
    path = tmp_path / "web.key"
    path.write_bytes(half)

    assert len(kept_key(path)) == 32
    assert path.read_bytes() == kept_key(path)


@pytest.mark.parametrize(
    ("is_stale", "token", "words"), [(True, "secret", STALE), (False, "wrong", WRONG), (False, "secret", "")]
)
def test_a_stale_login_page_is_told_apart_from_a_wrong_token(
    sessions: Sessions, is_stale: bool, token: str, words: str
) -> None:
    config = WebConfig(host="0.0.0.0", port=0, token="secret", upload_bytes=1000)
    login = Login(templates(), sessions, config.token)
    routes = [Route("/login", login.page, methods=["GET", "POST"])]
    app = Starlette(routes=routes, middleware=[Middleware(Door, config=config, sessions=sessions)])
    with TestClient(app, base_url="http://chat.example", follow_redirects=False) as client:
        found = re.search(r'name="csrf" value="(\w+)"', client.get("/login").text)
        assert found is not None
        if is_stale:
            client.cookies.clear()

        answer = client.post(
            "/login", data={"csrf": found[1], "token": token}, headers={"Origin": "http://chat.example"}
        )

    assert answer.status_code == (403 if words else 303)
    assert words in answer.text
