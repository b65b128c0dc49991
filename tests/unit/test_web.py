"""The web chat's pure parts and its tabs, without a browser."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from adapters.web import inbound
from adapters.web.config import AWAITED_SECONDS, BYTES_WAITING, EVENTS_WAITING, PAGES_AWAITED
from adapters.web.downloads import disposition, image_type
from adapters.web.live import STILL_HERE, Listeners, event
from adapters.web.outbound import Html, code_html, markdown_html, templates
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


def test_what_is_shown_again_is_not_rendered_again() -> None:
    assert code_html("x = 1", "python") is code_html("x = 1", "python")
    assert markdown_html("*a*") is markdown_html("*a*")


@pytest.mark.parametrize(("language", "has_colours"), [("Python", True), ("shell", True), ("ada", False), ("", False)])
def test_only_languages_that_we_chose_have_colours(language: str, has_colours: bool) -> None:
    """Whoever writes a block names its language, and with it the patterns that its text is put through."""
    source = 'if x then print("a") -- echo 1'

    assert ("<span" in code_html(source, language)) == has_colours
    assert ("<span" in markdown_html(f"```{language}\n{source}\n```")) == has_colours


@pytest.mark.parametrize(
    ("data", "mime"),
    [
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", None),
        (b"<svg>", None),
        (b"", None),
    ],
)
def test_a_picture_is_known_by_its_bytes(data: bytes, mime: str | None) -> None:
    assert image_type(data) == mime


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("plot.png", 'inline; filename="plot.png"'),
        ("отчёт 1.csv", "inline; filename=\"_____ 1.csv\"; filename*=UTF-8''%D0%BE%D1%82%D1%87%D1%91%D1%82%201.csv"),
        ('a"; x="\r\nb.png', 'inline; filename="a__ x____b.png"'),
    ],
)
def test_a_files_name_goes_with_it_in_every_alphabet(name: str, header: str) -> None:
    assert disposition("inline", name) == header


async def sent(events: AsyncIterator[bytes]) -> list[bytes]:
    return [data async for data in events]


async def no_snapshot() -> str:
    return ""


async def test_a_tab_that_stalls_is_cut_off_by_the_bytes_that_wait_for_it() -> None:
    listeners = Listeners(lambda: 0.0)
    events = listeners.listen(KEY, listeners.expect(KEY), no_snapshot)
    assert await anext(events) == STILL_HERE
    third = "x" * (BYTES_WAITING // 3)

    for _ in range(10):
        listeners.send(KEY, third)

    assert len(await sent(events)) == 3
    assert not listeners.are_any(KEY)


async def test_a_single_event_may_be_larger_than_what_may_wait() -> None:
    listeners = Listeners(lambda: 0.0)
    events = listeners.listen(KEY, listeners.expect(KEY), no_snapshot)
    await anext(events)

    listeners.send(KEY, "x" * (BYTES_WAITING + 1))

    assert len(await anext(events)) == BYTES_WAITING + 1


async def test_a_tab_that_stalls_is_cut_off_by_the_events_that_wait_for_it() -> None:
    listeners = Listeners(lambda: 0.0)
    events = listeners.listen(KEY, listeners.expect(KEY), no_snapshot)
    await anext(events)

    for _ in range(2 * EVENTS_WAITING):
        listeners.send(KEY, "x")

    assert len(await sent(events)) == EVENTS_WAITING


def test_a_page_that_never_connects_is_awaited_for_a_while_only() -> None:
    seconds = 0.0
    listeners = Listeners(lambda: seconds)
    listeners.expect(KEY)
    assert listeners.are_any(KEY)

    seconds = AWAITED_SECONDS + 1

    assert not listeners.are_any(KEY)


async def test_of_many_pages_that_never_connect_the_latest_are_awaited() -> None:
    listeners = Listeners(lambda: 0.0)
    tokens = [listeners.expect(KEY) for _ in range(PAGES_AWAITED + 1)]

    first, last = (listeners.listen(KEY, token, no_snapshot) for token in (tokens[0], tokens[-1]))

    assert [await anext(first), await anext(last)] == [b"", STILL_HERE]


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
