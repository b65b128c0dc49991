"""The web chat's pages with a bot behind them, without a browser."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from adapters.web.config import ENTRIES_SHOWN, LISTENERS
from adapters.web.live import STILL_HERE
from bot.model import Code, Printed, Reply, Text, ThreadKey, Turn
from bot.store import SqlOutbox
from tests.doubles.bot import now
from tests.doubles.loop_watch import HELD_UP_SECONDS, loop_watch
from tests.doubles.process_engine import ProcessEngine
from tests.doubles.web_chat import KEY, PAGE, Chat, web_chat


@pytest.fixture
async def chat(tmp_path: Path, process_engine: ProcessEngine) -> AsyncIterator[Chat]:
    async with web_chat(tmp_path, process_engine) as chat:
        yield chat


def token_of(page: httpx.Response) -> str:
    found = re.search(r"/events\?page=([\w-]+)", page.text)
    assert found is not None
    return found[1]


async def text_of(events: AsyncIterator[bytes], wanted: str) -> str:
    """What is sent until `wanted` is in it."""
    text = ""
    async with asyncio.timeout(5):
        while wanted not in text:
            text += (await anext(events)).decode()
    return text


def growing(turn: Turn, text: str, *, final: bool = False) -> Reply:
    return Reply(turn_id=turn.id, part=0, blocks=(Text(markdown=text),), final=final)


async def test_nothing_is_rendered_while_nobody_watches_and_nothing_of_it_is_lost(chat: Chat) -> None:
    turn = await chat.claim()
    assert turn is not None

    await chat.web.mark(turn.message, "working")
    await chat.web.publish(KEY, growing(turn, "one"))
    await chat.web.update(KEY, "", growing(turn, "one two"))

    assert chat.html.replies == 0
    assert "one two" in (await chat.client.get(PAGE)).text


async def test_a_page_is_read_and_rendered_once_and_misses_nothing_until_it_connects(chat: Chat) -> None:
    turn = await chat.claim()
    assert turn is not None
    await chat.web.publish(KEY, growing(turn, "one"))

    page = await chat.client.get(PAGE)
    read = chat.history.reads, chat.html.replies
    await chat.web.update(KEY, "", growing(turn, "one two"))
    events = chat.listen(token_of(page))

    assert read == (1, 1)
    assert await anext(events) == STILL_HERE
    assert b"one two" in await anext(events)
    assert chat.history.reads == 1


async def test_a_page_that_connects_again_is_given_a_snapshot(chat: Chat) -> None:
    turn = await chat.claim()
    assert turn is not None
    token = token_of(await chat.client.get(PAGE))
    await anext(chat.listen(token))
    await chat.web.publish(KEY, growing(turn, "said meanwhile"))

    first = (await anext(chat.listen(token))).decode()

    assert first.startswith("event: snapshot\n")
    assert "said meanwhile" in first


async def test_one_threads_page_cannot_connect_to_another(chat: Chat) -> None:
    await chat.claim()
    token = token_of(await chat.client.get(PAGE))

    answer = await chat.client.get(f"/c/direct/t/{'1' * 12}/events?page={token}")

    assert answer.status_code == 404


@pytest.mark.thorough
async def test_a_long_thread_does_not_hold_the_loop(chat: Chat) -> None:
    """It held the loop for as long as it took to render: a second for this one."""
    outbox = SqlOutbox(chat.parts.history._database, now)
    for number in range(15):
        turn = await chat.claim(number)
        assert turn is not None
        for part in range(3):
            code = "\n".join(f"df{i} = read('{number}.{part}').groupby(['a']).agg({{'c': 'sum'}})" for i in range(25))
            blocks = (Code(language="python", source=code), Printed(text="1  2  3\n" * 60))
            await outbox.write(Reply(turn_id=turn.id, part=part, blocks=blocks, final=True))
    await chat.client.get("/c/direct")

    async with loop_watch() as watch:
        page = await chat.client.get(PAGE)

    assert page.text.count('<article class="reply"') == 45
    assert watch.held_up < HELD_UP_SECONDS


@pytest.mark.thorough
async def test_a_growing_answer_does_not_hold_the_loop(chat: Chat) -> None:
    turn = await chat.claim()
    assert turn is not None
    events = chat.listen(token_of(await chat.client.get(PAGE)))
    text = "".join(f"- number {n} of *many* `words`\n" for n in range(4000))

    async with loop_watch() as watch:
        await chat.web.publish(KEY, growing(turn, text))

    assert "number 3999" in await text_of(events, "3999")
    assert watch.held_up < HELD_UP_SECONDS


async def test_the_newest_are_shown_with_a_way_to_earlier_ones_under_the_title_of_the_first(chat: Chat) -> None:
    for number in range(ENTRIES_SHOWN + 1):
        await chat.claim(number, answer=False)

    page, earlier = await chat.client.get(PAGE), await chat.client.get(f"{PAGE}?earlier")

    assert page.text.count('<article class="message"') == ENTRIES_SHOWN
    assert "these are the newest 50" in page.text
    assert '<a href="?earlier">' in page.text
    assert "<h1>message 0</h1>" in page.text
    assert earlier.text.count('<article class="message"') == ENTRIES_SHOWN + 1
    assert "left out" not in earlier.text
    assert "&amp;earlier" in earlier.text


async def test_a_command_that_would_begin_a_thread_is_answered_where_it_was_said(chat: Chat) -> None:
    """It led to a thread that there was not."""
    answer = await chat.post("/c/general/messages", "@threadbox help")

    assert answer.status_code == 200
    assert (answer.headers["HX-Retarget"], answer.headers["HX-Reswap"]) == ("#entries", "beforeend")
    assert "HX-Redirect" not in answer.headers
    assert "Mention me with a request" in answer.text


async def test_the_words_of_a_request_that_must_wait_are_on_its_page_once(chat: Chat) -> None:
    first = await chat.begin("wait")

    second = await chat.begin("hello")

    words = "You have 1 request running already"
    assert words in (await chat.client.get(second)).text
    assert words not in (await chat.client.get(second)).text
    await chat.post(f"{first}/stop")


async def test_stop_says_what_it_did_where_no_sign_does(chat: Chat) -> None:
    first = await chat.begin("wait")
    second = await chat.begin("hello")
    key = ThreadKey(platform="web", workspace="local", channel="direct", thread=second.rpartition("/")[2])
    page = await chat.client.get(second)
    events = chat.web.listeners.listen(key, token_of(page), lambda: chat.web.snapshot(key, ENTRIES_SHOWN))

    await chat.post(f"{second}/stop")
    assert "Stopped before it began." in await text_of(events, "before it began")
    await chat.post(f"{second}/stop")
    assert "Nothing is running here." in await text_of(events, "Nothing is")
    await chat.post(f"{first}/stop")
    assert chat.web._unseen == {}  # the sign says it


async def test_a_message_that_is_taken_leaves_no_empty_note(chat: Chat) -> None:
    thread = await chat.begin("hello")

    await chat.post(f"{thread}/messages", "and now?")

    assert chat.web._unseen == {}
    assert "note" not in (await chat.client.get(thread)).text


async def test_a_message_without_words_and_files_is_refused(chat: Chat) -> None:
    thread = await chat.begin("@threadbox hello", "general")

    answer = await chat.post(f"{thread}/messages", " ")

    assert (answer.status_code, "Your message is empty" in answer.text) == (422, True)


@pytest.mark.parametrize(
    ("text", "files"),
    [("x" * 2000, {"a.bin": b"1"}), ("read them", {"a.bin": b"1", "b.bin": b"1" * (1 << 20) + b"1"})],
)
async def test_a_refused_message_leaves_no_files_behind(chat: Chat, text: str, files: dict[str, bytes]) -> None:
    answer = await chat.post("/c/direct/messages", text, files)

    assert answer.status_code == 422
    assert list((chat.folder / "blobs").iterdir()) == []


async def test_files_that_are_taken_can_be_had_again(chat: Chat) -> None:
    await chat.post("/c/direct/messages", "read it", {"отчёт.csv": b"1,2"})

    (kept,) = (chat.folder / "blobs").iterdir()
    answer = await chat.client.get(f"/artifacts/{kept.name}")

    assert answer.content == b"1,2"
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="_____.csv"; filename*=UTF-8')


async def test_a_file_that_was_removed_from_the_folder_is_not_found(chat: Chat) -> None:
    artifact = await chat.parts.artifacts.save(None, "a.csv", "text/csv", b"1")
    (chat.folder / "blobs" / artifact.id).unlink()

    answer = await chat.client.get(f"/artifacts/{artifact.id}")

    assert (answer.status_code, answer.text) == (404, "There is nothing here.")


async def test_too_many_pages_are_refused_in_words_before_anything_is_sent(chat: Chat) -> None:
    await chat.claim()
    open_pages = [chat.listen("") for _ in range(LISTENERS)]
    for events in open_pages:
        await anext(events)

    answer = await chat.client.get(f"{PAGE}/events")

    assert (answer.status_code, answer.text) == (422, "100 pages of this chat are open already: close some of them.")
