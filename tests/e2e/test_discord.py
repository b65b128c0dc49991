"""`threadbox run` as a process on a loopback Discord, with real containers: the whole way, and kill -9 under a burst."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.doubles.discord_messages import words
from tests.doubles.discord_people import MENTION, People
from tests.doubles.discord_server import TOKEN, DiscordServer, discord_server
from tests.doubles.model_server import ModelServer, python
from tests.doubles.slack_people import MENTION as SLACK_MENTION
from tests.doubles.slack_people import People as SlackPeople
from tests.doubles.slack_server import APP_TOKEN, BOT_TOKEN, slack_server
from tests.e2e.chats import ANSWER, CHANNELS, EACH, EVERY_ANSWER, PLOT, THREADS, answers, echo, running

pytestmark = [pytest.mark.docker, pytest.mark.usefixtures("image")]

DISCORD_WAITS_SECONDS = 3.0


@pytest.fixture
async def chat() -> AsyncIterator[DiscordServer]:
    async with discord_server() as running:
        yield running
        assert running.violations == []


def settings(chat: DiscordServer) -> dict[str, str]:
    return {
        "DISCORD_BOT_TOKEN": TOKEN,
        "DISCORD_API_URL": chat.api_url,
        "DISCORD_GATEWAY_URL": chat.gateway_url,
    }


async def test_a_mention_becomes_code_output_a_picture_a_file_and_a_follow_up(
    tmp_path: Path, chat: DiscordServer, model: ModelServer
) -> None:
    model.script[:] = [python(PLOT, "I draw it."), "Here it is.", python("print('rows', rows)"), "Three."]
    people = People(chat)
    async with running(tmp_path, model, settings(chat)):
        root = await people.say(f"{MENTION} plot the squares")
        await people.ended(root)
        again = await people.say("how many?", thread=root)
        await people.ended(again)

    shown = people.shown(root)
    wanted = ("I draw it.", "drawn", "[figure-1.png]", "[squares.csv]", "Here it is.", "rows 3")
    order = [shown.index(text) for text in wanted]
    assert order == sorted(order)
    picture = next(file for message in people.messages(root) for file in message["attachments"])
    assert chat.api.messages.bytes[picture["id"]].startswith(b"\x89PNG")


async def test_a_thread_goes_on_after_a_restart_and_its_buttons_work(
    tmp_path: Path, chat: DiscordServer, model: ModelServer
) -> None:
    model.script[:] = [python("x = 21\nprint('kept')"), "Kept.", python("print('twice', x * 2)"), "Done.", "Again."]
    people = People(chat)
    async with running(tmp_path, model, settings(chat)) as first:
        root = await people.say(f"{MENTION} keep 21")
        await people.ended(root)
        first.kill()
    missed = people.store("and twice that?", thread=root)
    async with running(tmp_path, model, settings(chat)):
        await people.ended(missed)
        shown = await people.press("tb:rerun:", people.said(root)[1])
        await people.sees(root, "Again.")

    assert "twice 42" in people.shown(root)
    assert shown.ephemeral


@pytest.mark.timeout(300)
async def test_two_hundred_mentions_and_kill_9_in_the_burst_are_answered_once_in_order(
    tmp_path: Path, chat: DiscordServer, model: ModelServer
) -> None:
    """Discord's real limits are kept: five posts in five seconds in a thread, fifty calls a second in all."""
    model.script[:] = [echo] * (2 * THREADS * EACH)
    people = People(chat)
    async with running(tmp_path, model, settings(chat)) as first:
        roots = await say_all(people, chat)
        await chat.until(lambda: len(answered(people)) >= THREADS * EACH // 4, 60)
        first.kill()
    async with running(tmp_path, model, settings(chat)):
        await chat.until(lambda: len(set(answered(people))) >= THREADS * EACH, 120)
        await asyncio.sleep(1.0)  # for what would come a second time

    assert sorted(answered(people)) == EVERY_ANSWER
    for thread, root in enumerate(roots):
        said = ANSWER.findall(people.shown(root))
        assert said == [f"{thread}-{number}" for number in range(EACH)]
    assert chat.api.over_limit == []


async def say_all(people: People, chat: DiscordServer) -> list[str]:
    """Forty mentions in ten channels, then four more in each of their threads as fast as Discord would tell of them."""
    channels = ["general", "random", "data", "science", "help", "ops", "support", "build", "lab", "quiet"]
    roots = [
        await people.say(f"{MENTION} ask {thread}-0", channel=channels[thread % CHANNELS]) for thread in range(THREADS)
    ]
    await chat.until(lambda: all(root in chat.api.guild.channels for root in roots), 60)
    for number in range(1, EACH):
        for thread, root in enumerate(roots):
            await people.say(f"{MENTION} ask {thread}-{number}", thread=root, wait=False)
    return roots


def answered(people: People) -> list[str]:
    return answers(words(message) for messages in people.kept.by_channel.values() for message in messages)


async def test_commands_are_acknowledged_at_once_while_fifty_turns_run(
    tmp_path: Path, chat: DiscordServer, model: ModelServer
) -> None:
    people = People(chat)
    model.script[:] = [python("import time; time.sleep(2); print('slept')")] * 50
    async with running(
        tmp_path, model, settings(chat) | {"THREADBOX_TURNS_AT_ONCE": "50", "THREADBOX_MAX_SANDBOXES": "6"}
    ):
        for number in range(50):
            await people.say(f"{MENTION} sleep", channel=("general", "random", "data", "science", "help")[number % 5])
        seconds = [(await people.slash("sandbox status", user="bob")).ack_seconds or 9 for _ in range(40)]

    assert max(seconds) < DISCORD_WAITS_SECONDS  # how fast they are is for `make bench` to say


async def test_one_process_serves_slack_discord_and_the_web_at_once(
    tmp_path: Path, chat: DiscordServer, model: ModelServer
) -> None:
    code = python("import time; time.sleep(0.5)\nplace = 'mine'\nprint('place', place)")
    model.script[:] = [lambda body: "Done." if body["messages"][-1]["role"] == "tool" else code] * 6
    async with slack_server() as slack:
        people, slack_people = People(chat), SlackPeople(slack)
        more = {
            "SLACK_BOT_TOKEN": BOT_TOKEN,
            "SLACK_APP_TOKEN": APP_TOKEN,
            "SLACK_API_URL": f"{slack.api.url}/api/",
            "THREADBOX_WEB": "on",
        }
        async with running(tmp_path, model, settings(chat) | more) as process:
            page = await asyncio.to_thread(process.begin, "go")
            in_slack = await slack_people.say(f"{SLACK_MENTION} go")
            in_discord = await people.say(f"{MENTION} go")
            await asyncio.gather(slack_people.ended(in_slack), people.ended(in_discord))
            await asyncio.to_thread(process.wait_for, page, "place mine")

            assert "place mine" in people.shown(in_discord)
            assert "place mine" in slack_people.shown(in_slack)
