"""`threadbox run` as a process on a loopback Slack, with real containers: the whole way, and kill -9 under a burst."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.model_server import ModelServer, model_server, python
from tests.doubles.slack_people import MENTION, People, words
from tests.doubles.slack_server import APP_TOKEN, BOT_TOKEN, SlackServer, slack_server
from tests.e2e.threadbox import Process, threadbox

pytestmark = [pytest.mark.docker, pytest.mark.usefixtures("image")]

THREADS, MENTIONS, CHANNELS = 40, 200, 10
SLACK_WAITS_SECONDS = 3.0

PLOT = """
import matplotlib.pyplot as plt
plt.plot([1, 4, 9])
plt.show()
rows = 3
open('squares.csv', 'w').write('1,4,9')
print('drawn')
"""


@pytest.fixture
def model() -> Iterator[ModelServer]:
    with model_server() as server:
        yield server


@pytest.fixture
async def chat() -> AsyncIterator[SlackServer]:
    async with slack_server() as running:
        yield running


@asynccontextmanager
async def running(folder: Path, chat: SlackServer, model: ModelServer, **more: str) -> AsyncIterator[Process]:
    settings = {
        "OPENAI_BASE_URL": model.url,
        "THREADBOX_MODEL": "scripted",
        "SLACK_BOT_TOKEN": BOT_TOKEN,
        "SLACK_APP_TOKEN": APP_TOKEN,
        "SLACK_API_URL": f"{chat.api.url}/api/",
        "THREADBOX_TURNS_PER_PERSON": "500",
        **more,
    }
    context = threadbox(folder, **settings)
    process = await asyncio.to_thread(context.__enter__)
    try:
        yield process
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)


async def test_a_mention_becomes_code_output_a_picture_a_file_and_a_follow_up(
    tmp_path: Path, chat: SlackServer, model: ModelServer
) -> None:
    model.script[:] = [python(PLOT, "I draw it."), "Here it is.", python("print('rows', rows)"), "Three."]
    people = People(chat)
    async with running(tmp_path, chat, model):
        root = await people.say(f"{MENTION} plot the squares")
        await people.ended(root)
        again = await people.say("how many?", thread=root)
        await people.ended(again)

    shown = people.shown(root)
    order = [
        shown.index(text)
        for text in ("I draw it.", "drawn", "[file figure-1.png]", "[file squares.csv]", "Here it is.", "rows 3")
    ]
    assert order == sorted(order)
    picture = next(file for message in people.thread(root) for file in message.get("files", []))
    assert chat.api.bytes[picture["id"]].startswith(b"\x89PNG")


async def test_a_thread_goes_on_after_a_restart(tmp_path: Path, chat: SlackServer, model: ModelServer) -> None:
    model.script[:] = [python("x = 21"), "Kept.", python("print('twice', x * 2)"), "Done."]
    people = People(chat)
    async with running(tmp_path, chat, model) as first:
        root = await people.say(f"{MENTION} keep 21")
        await people.ended(root)
        first.kill()
    missed = people.store("and twice that?", thread=root)["ts"]
    async with running(tmp_path, chat, model):
        await people.ended(missed)

    assert "twice 42" in people.shown(root)


def echo(body: dict[str, Any]) -> str:
    asked = [message["content"] for message in body["messages"] if message["role"] == "user"][-1]
    return f"Answer to <{asked.rpartition(' ')[2]}>."


async def test_two_hundred_mentions_and_kill_9_in_the_burst_are_answered_once_in_order(
    tmp_path: Path, chat: SlackServer, model: ModelServer
) -> None:
    """Slack's real limits are kept: sixty posts a minute in a channel, three hundred in the workspace."""
    model.script[:] = [echo] * (2 * MENTIONS)
    chat.api.minute = 60.0
    people = People(chat)
    async with running(tmp_path, chat, model) as first:
        roots = await say_all(people)
        await chat.until(lambda: len(answers(people)) >= MENTIONS // 4, 60)
        first.kill()
    async with running(tmp_path, chat, model):
        await chat.until(lambda: len(set(answers(people))) >= MENTIONS, 100)
        await asyncio.sleep(1.0)  # for what would come a second time

    assert sorted(answers(people)) == sorted(f"{thread}-{number}" for thread in range(THREADS) for number in range(5))
    for thread, (channel, root) in enumerate(roots):
        said = [answer for message in people.thread(root, channel) if (answer := answer_of(words(message)))]
        assert said == [f"{thread}-{number}" for number in range(MENTIONS // THREADS)]
    assert chat.api.over_limit == []
    assert statistics.median(chat.ack_seconds) < SLACK_WAITS_SECONDS


async def say_all(people: People) -> list[tuple[str, str]]:
    """Five mentions in each of forty threads, as fast as Slack would deliver them; their roots."""
    roots = []
    for thread in range(THREADS):
        channel = f"C{thread % CHANNELS}"
        roots.append((channel, await people.say(f"{MENTION} ask {thread}-0", channel=channel, wait=False)))
    for number in range(1, MENTIONS // THREADS):
        for thread, (channel, root) in enumerate(roots):
            await people.say(f"{MENTION} ask {thread}-{number}", channel=channel, thread=root, wait=False)
    return roots


def answers(people: People) -> list[str]:
    """What was answered, once for each message that says so."""
    messages = [message for channel in people.api.messages.values() for message in channel if message.get("bot_id")]
    return [answer for message in messages if (answer := answer_of(words(message)))]


def answer_of(text: str) -> str:
    return text.partition("Answer to <")[2].partition(">")[0]


async def test_deliveries_are_acknowledged_at_once_while_fifty_turns_run(
    tmp_path: Path, chat: SlackServer, model: ModelServer
) -> None:
    people = People(chat)
    model.script[:] = [python("import time; time.sleep(2); print('slept')")] * 50
    async with running(tmp_path, chat, model, THREADBOX_TURNS_AT_ONCE="50", THREADBOX_MAX_SANDBOXES="6"):
        roots = [await people.say(f"{MENTION} sleep", channel=f"C{number % 10}") for number in range(50)]
        began = time.monotonic()
        while time.monotonic() - began < 4:
            await people.say("hello there", channel="C1")
            await asyncio.sleep(0.05)

    assert len(roots) == 50
    assert max(chat.ack_seconds) < SLACK_WAITS_SECONDS  # how fast they are is for `make bench` to say
