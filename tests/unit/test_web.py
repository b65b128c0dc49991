"""The web chat's pure parts, and its door, without a browser."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from adapters.web import inbound
from adapters.web.config import WebConfig
from adapters.web.live import event
from adapters.web.outbound import Html, markdown_html, templates
from adapters.web.security import COOKIE, Door, Sessions
from bot.errors import ConfigurationError
from bot.model import Artifact, File, Picture, Printed, Reply, Text, ThreadKey

KEY = ThreadKey(platform="web", workspace="local", channel="general", thread="a" * 12)
NOW = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[x](javascript:alert(1))",
        "[x](data:text/html;base64,AAAA)",
        "![x](http://evil.example/a.png)",
        "<iframe srcdoc='<script>1</script>'>",
    ],
)
def test_markdown_carries_no_html_no_script_and_no_image(hostile: str) -> None:
    html = str(markdown_html(hostile)).lower()

    for tag in ("<script", "<img", "<iframe", 'href="javascript', 'href="data'):
        assert tag not in html


def test_links_open_elsewhere_and_tell_nothing() -> None:
    assert 'rel="noopener noreferrer nofollow"' in markdown_html("see https://example.org")


def test_what_code_printed_and_named_is_escaped() -> None:
    artifact = Artifact(id="x", name='"><script>1</script>.svg', mime="image/svg+xml", size=1)
    blocks = (Printed(text="<b>&</b>"), Text(markdown="hi"), File(artifact=artifact), Picture(artifact=artifact))

    html = Html(templates()).reply(Reply(turn_id="t", part=0, blocks=blocks, final=True), KEY)

    assert "&lt;b&gt;&amp;&lt;/b&gt;" in html
    assert "<script>" not in html
    assert '<iframe class="sealed" sandbox src=' in html
    assert "allow-same-origin" not in html
    assert "<img" not in html


def test_an_event_cannot_be_ended_by_its_own_text() -> None:
    assert event("update", "a\r\n\r\nevent: x\n") == "event: update\ndata: a\ndata: \ndata: event: x\ndata: \n\n"


@pytest.mark.parametrize(
    ("channel", "text", "for_us", "rest"),
    [
        ("general", "@threadbox plot", True, "plot"),
        ("general", "hey @Threadbox: plot", True, "hey  plot"),
        ("general", "hello", False, "hello"),
        ("direct", "hello", True, "hello"),
        ("general", "mail me@threadboxes.example", False, "mail me@threadboxes.example"),
    ],
)
def test_a_mention_makes_a_message_ours(channel: str, text: str, for_us: bool, rest: str) -> None:
    key = inbound.thread_key(channel, "0" * 12)

    message = inbound.message(key, text, message_id="1", person="p", now=NOW, attachments=())

    assert (message.for_us, message.text) == (for_us, rest)


@pytest.mark.parametrize(("channel", "thread"), [("nowhere", "0" * 12), ("general", "../x"), ("general", "")])
def test_an_address_of_no_thread_is_no_thread(channel: str, thread: str) -> None:
    with pytest.raises(LookupError):
        inbound.thread_key(channel, thread)


def test_an_open_door_is_refused_at_start() -> None:
    with pytest.raises(ConfigurationError, match="THREADBOX_WEB_TOKEN"):
        WebConfig(host="0.0.0.0", port=1, token=None, upload_bytes=1)


@pytest.fixture
def sessions() -> Sessions:
    return Sessions()


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
