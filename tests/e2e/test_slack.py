"""`threadbox run` as a process on a loopback Slack, with real containers: the whole way, and kill -9 under a burst."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.doubles.model_server import ModelServer, python
from tests.doubles.slack_people import MENTION, People, words
from tests.doubles.slack_server import APP_TOKEN, BOT_TOKEN, SlackServer, slack_server
from tests.e2e.chats import CHANNELS, EACH, EVERY_ANSWER, PLOT, THREADS, answers, echo, running

pytestmark = [pytest.mark.docker, pytest.mark.usefixtures("image")]

SLACK_WAITS_SECONDS = 3.0


@pytest.fixture
async def chat() -> AsyncIterator[SlackServer]:
    async with slack_server() as running:
        yield running


def settings(chat: SlackServer) -> dict[str, str]:
    return {"SLACK_BOT_TOKEN": BOT_TOKEN, "SLACK_APP_TOKEN": APP_TOKEN, "SLACK_API_URL": f"{chat.api.url}/api/"}


async def test_a_mention_becomes_code_output_a_picture_a_file_and_a_follow_up(
    tmp_path: Path, chat: SlackServer, model: ModelServer
) -> None:
    model.script[:] = [python(PLOT, "I draw it."), "Here it is.", python("print('rows', rows)"), "Three."]
    people = People(chat)
    async with running(tmp_path, model, settings(chat)):
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
    async with running(tmp_path, model, settings(chat)) as first:
        root = await people.say(f"{MENTION} keep 21")
        await people.ended(root)
        first.kill()
    missed = people.store("and twice that?", thread=root)["ts"]
    async with running(tmp_path, model, settings(chat)):
        await people.ended(missed)

    assert "twice 42" in people.shown(root)


@pytest.mark.timeout(300)
async def test_two_hundred_mentions_and_kill_9_in_the_burst_are_answered_once_in_order(
    tmp_path: Path, chat: SlackServer, model: ModelServer
) -> None:
    """Slack's real limits are kept: sixty posts a minute in a channel, three hundred in the workspace."""
    model.script[:] = [echo] * (2 * THREADS * EACH)
    chat.api.minute = 60.0
    people = People(chat)
    async with running(tmp_path, model, settings(chat)) as first:
        roots = await say_all(people)
        await chat.until(lambda: len(answered(people)) >= THREADS * EACH // 4, 60)
        first.kill()
    async with running(tmp_path, model, settings(chat)):
        await chat.until(lambda: len(set(answered(people))) >= THREADS * EACH, 100)
        await asyncio.sleep(1.0)  # for what would come a second time

    assert sorted(answered(people)) == EVERY_ANSWER
    for thread, (channel, root) in enumerate(roots):
        said = answers(words(message) for message in people.thread(root, channel))
        assert said == [f"{thread}-{number}" for number in range(EACH)]
    assert chat.api.over_limit == []
    assert statistics.median(chat.ack_seconds) < SLACK_WAITS_SECONDS


async def say_all(people: People) -> list[tuple[str, str]]:
    """Five mentions in each of forty threads, as fast as Slack would deliver them; their roots."""
    roots = []
    for thread in range(THREADS):
        channel = f"C{thread % CHANNELS}"
        roots.append((channel, await people.say(f"{MENTION} ask {thread}-0", channel=channel, wait=False)))
    for number in range(1, EACH):
        for thread, (channel, root) in enumerate(roots):
            await people.say(f"{MENTION} ask {thread}-{number}", channel=channel, thread=root, wait=False)
    return roots


def answered(people: People) -> list[str]:
    found = [message for channel in people.api.messages.values() for message in channel if message.get("bot_id")]
    return answers(words(message) for message in found)


async def test_deliveries_are_acknowledged_at_once_while_fifty_turns_run(
    tmp_path: Path, chat: SlackServer, model: ModelServer
) -> None:
    people = People(chat)
    model.script[:] = [python("import time; time.sleep(2); print('slept')")] * 50
    async with running(
        tmp_path, model, settings(chat) | {"THREADBOX_TURNS_AT_ONCE": "50", "THREADBOX_MAX_SANDBOXES": "6"}
    ):
        roots = [await people.say(f"{MENTION} sleep", channel=f"C{number % 10}") for number in range(50)]
        began = time.monotonic()
        while time.monotonic() - began < 4:
            await people.say("hello there", channel="C1")
            await asyncio.sleep(0.05)

    assert len(roots) == 50
    assert max(chat.ack_seconds) < SLACK_WAITS_SECONDS  # how fast they are is for `make bench` to say
