"""What the web chat's page does by itself: what it sends and keeps, and what it does when nobody looks at it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.doubles.model_server import Held, ModelServer, model_server
from tests.e2e.browsing import begin, picture, send, sound_page
from tests.e2e.threadbox import Process, remove_containers, threadbox

pytestmark = [pytest.mark.docker, pytest.mark.browser, pytest.mark.usefixtures("image")]


@pytest.fixture(scope="module")
def model() -> Iterator[ModelServer]:
    with model_server() as server:
        yield server


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory, model: ModelServer) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("web")
    with threadbox(folder, OPENAI_BASE_URL=model.url, THREADBOX_MODEL="scripted") as running:
        yield running
    remove_containers(folder)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with sound_page(browser) as page:
        yield page


def hide(page: Page, *, hidden: bool) -> None:
    """A browser without a window shows every tab."""
    page.evaluate(
        "hidden => { Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });"
        " document.dispatchEvent(new Event('visibilitychange')); }",
        hidden,
    )


def test_a_command_in_a_channel_is_answered_there(page: Page, chat: Process) -> None:
    """It led to a page of which nothing was but the words: there is nothing here."""
    page.goto(f"{chat.url}/c/general")
    page.wait_for_load_state("networkidle")

    send(page, "@threadbox help")

    expect(page.locator("#entries .note")).to_contain_text("Mention me with a request")
    expect(page.locator("textarea")).to_have_value("@threadbox ")
    picture(page, "command")


def test_enter_twice_sends_once_and_what_is_typed_meanwhile_stays(
    page: Page, chat: Process, model: ModelServer
) -> None:
    model.script[:] = ["Welcome.", "Read."]
    begin(page, chat, "@threadbox hello")
    expect(page.get_by_text("Welcome.")).to_be_visible(timeout=20_000)
    held: list[Route] = []
    page.route("**/messages", lambda route: held.append(route))
    page.locator("input[type=file]").set_input_files({"name": "a.csv", "mimeType": "text/csv", "buffer": b"1"})

    send(page, "read it")
    page.keyboard.press("Enter")
    page.keyboard.type(" and then")
    expect(page.locator("#composer .send")).to_be_disabled()
    picture(page, "sending")
    assert len(held) == 1
    held[0].continue_()

    expect(page.locator("textarea")).to_have_value("and then")
    expect(page.locator("#chosen")).to_have_text("")
    expect(page.locator("#composer .send")).to_be_enabled()
    expect(page.get_by_text("Read.")).to_be_visible(timeout=20_000)
    expect(page.locator(".message .file")).to_have_count(1)
    assert len(held) == 1


def test_enter_in_an_empty_box_sends_nothing(page: Page, chat: Process) -> None:
    page.goto(f"{chat.url}/c/direct")
    page.wait_for_load_state("networkidle")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    send(page, " \n")
    page.wait_for_timeout(300)

    assert asked == []
    expect(page.locator("#refusal")).to_be_hidden()


def test_a_hidden_tab_lets_its_connection_go_and_shows_what_it_missed(
    page: Page, chat: Process, model: ModelServer
) -> None:
    answer = Held("It was long.")
    model.script[:] = ["Welcome.", answer]
    begin(page, chat, "@threadbox hello")
    expect(page.get_by_text("Welcome.")).to_be_visible(timeout=20_000)
    send(page, "help")
    expect(page.locator(".note")).to_be_visible()
    send(page, "think")
    expect(page.locator(".status.working")).to_have_count(1, timeout=20_000)

    with page.expect_event("requestfailed", lambda request: "/events" in request.url):
        hide(page, hidden=True)
    answer.release()
    chat.wait_for(page.url.removeprefix(chat.url), "It was long.")
    expect(page.get_by_text("It was long.")).to_have_count(0)
    with page.expect_request("**/events*"):
        hide(page, hidden=False)

    expect(page.get_by_text("It was long.")).to_be_visible()
    expect(page.locator(".status.done")).to_have_count(2)
    said = page.locator("#entries article").all_inner_texts()
    words = ["hello", "Welcome.", "Mention me", "think", "It was long."]
    assert [word in text for word, text in zip(words, said, strict=True)] == [True] * 5
    send(page, "and now?")
    expect(page.locator(".status.done")).to_have_count(3, timeout=20_000)
    expect(page.get_by_text("Done.")).to_have_count(1)


def test_a_page_too_many_says_so(page: Page, chat: Process, model: ModelServer) -> None:
    model.script[:] = ["Welcome."]
    begin(page, chat, "@threadbox hello")
    words = "100 pages of this chat are open already: close some of them."
    page.route("**/events*", lambda route: route.fulfill(status=422, body=words, content_type="text/plain"))

    page.reload()

    expect(page.locator("#refusal")).to_have_text(words)
    page.unroute("**/events*")
    expect(page.locator("#refusal")).to_be_hidden(timeout=20_000)


def test_who_signed_in_stays_signed_in_when_threadbox_starts_again(page: Page, tmp_path: Path) -> None:
    """Nobody could sign in: the page's policy on referrers made its form come from nowhere."""
    with threadbox(tmp_path, THREADBOX_WEB_TOKEN="open sesame") as chat:
        page.goto(chat.url)
        page.locator("input[type=password]").fill("open says me")
        page.get_by_role("button", name="Come in").click()
        expect(page.get_by_role("alert")).to_have_text("That is not the token.")
        picture(page, "login")
        page.locator("input[type=password]").fill("open sesame")
        page.get_by_role("button", name="Come in").click()
        expect(page.locator("#composer")).to_be_visible()

    with threadbox(tmp_path, THREADBOX_WEB_TOKEN="open sesame") as chat:
        page.goto(chat.url)
        expect(page.locator("#composer")).to_be_visible()
    remove_containers(tmp_path)
