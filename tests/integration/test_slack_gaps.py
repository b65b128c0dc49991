"""Connections that end, and what is missed meanwhile: read afterwards, answered once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from bot.ports import Agent
from sandbox.service import SandboxService
from tests.doubles.model_server import ModelServer
from tests.doubles.slack_api import Fault
from tests.doubles.slack_bot import SlackBot, slack_bot
from tests.doubles.slack_people import MENTION
from tests.doubles.slack_server import SlackServer, slack_server

# one loop for the module: its tests share the sandboxes of tests/integration/conftest.py
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def chat() -> AsyncIterator[SlackServer]:
    async with slack_server() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def bot(connected: SlackBot, model: ModelServer) -> SlackBot:
    return await connected.as_new()


async def test_a_new_connection_catches_up_on_what_was_missed(bot: SlackBot, model: ModelServer) -> None:
    root = await bot.people.say(f"{MENTION} hello")
    await bot.people.ended(root)
    before = bot.server.connections

    missed = bot.people.store("are you there?", thread=root)["ts"]
    mention = bot.people.store(f"{MENTION} a new thread")["ts"]
    bot.people.store("not for us")
    await bot.server.disconnect()
    await bot.people.ended(missed)
    await bot.people.ended(mention)

    assert bot.server.connections > before
    assert len(model.requests) == 3


async def test_nothing_is_answered_twice_after_a_gap(bot: SlackBot, model: ModelServer) -> None:
    root = await bot.people.say(f"{MENTION} hello")
    await bot.people.ended(root)
    await bot.people.say(f"{MENTION} run", user="UGUEST", thread=root)
    told = len(bot.server.api.whispers)

    for _ in range(2):
        count = bot.server.connections
        await bot.server.disconnect()
        await bot.server.until(lambda count=count: bot.server.connections > count)
    ts = await bot.people.say("still there?", thread=root)
    await bot.people.ended(ts)

    assert len(model.requests) == 2
    assert len(bot.server.api.whispers) == told


async def test_a_message_whose_author_we_must_ask_about_is_not_overtaken(bot: SlackBot, model: ModelServer) -> None:
    await bot.people.ended(await bot.people.say(f"{MENTION} hello", user="UBOB"))
    bot.listeners._people._known.pop("UADA", None)
    bot.server.api.faults["users.info"].append(Fault("ratelimited", 0.3))

    root = await bot.people.say(f"{MENTION} one", wait=False)
    again = await bot.people.say(f"{MENTION} two", user="UBOB", thread=root, wait=False)
    await bot.people.ended(root)
    await bot.people.ended(again)

    asked = [request["messages"][-1]["content"].rpartition(": ")[2] for request in model.requests]
    assert asked == ["hello", "one", "two"]


async def test_a_socket_that_went_dumb_is_left_for_a_new_one(
    tmp_path: Path,
    sandboxes: SandboxService,
    model: ModelServer,
    agent: Agent,
    chat: SlackServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("adapters.slack.server.WATCH", (0.1, 0.3))
    chat.mute = True

    async with slack_bot(tmp_path, sandboxes, chat, agent=agent) as bot:
        chat.mute = False
        await chat.until(lambda: chat.sockets)
        ts = await bot.people.say(f"{MENTION} hello")

        assert await bot.people.ended(ts) == "white_check_mark"


async def test_a_connection_that_cannot_be_made_is_tried_again(
    tmp_path: Path, sandboxes: SandboxService, model: ModelServer, agent: Agent, chat: SlackServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("adapters.slack.server.WATCH", (0.1, 60.0))
    async with slack_bot(tmp_path, sandboxes, chat, agent=agent) as bot:
        chat.refuse_sockets = True
        await chat.disconnect()
        await chat.until(lambda: not chat.sockets)
        await asyncio.sleep(0.5)
        chat.refuse_sockets = False
        ts = await bot.people.say(f"{MENTION} hello")

        assert await bot.people.ended(ts) == "white_check_mark"


async def test_what_was_refused_does_not_run_when_it_is_allowed_later(bot: SlackBot, model: ModelServer) -> None:
    root = await bot.people.say(f"{MENTION} hello")
    await bot.people.ended(root)
    await bot.people.say(f"{MENTION} run evil", user="UGUEST", thread=root)
    await bot.people.command("config set guests allow", user="UROOT")

    bot.listeners._heard.clear()  # as after a restart
    count = bot.server.connections
    await bot.server.disconnect()
    await bot.server.until(lambda: bot.server.connections > count)
    ts = await bot.people.say("still there?", thread=root)
    await bot.people.ended(ts)

    assert not any("run evil" in str(request["messages"]) for request in model.requests)


async def test_a_mention_is_found_behind_hundreds_of_messages_of_others(bot: SlackBot, model: ModelServer) -> None:
    root = await bot.people.say(f"{MENTION} hello")
    await bot.people.ended(root)
    for number in range(250):
        bot.people.store(f"small talk {number}")
    missed = bot.people.store(f"{MENTION} and you?")["ts"]
    for number in range(250):
        bot.people.store(f"more of it {number}")

    await bot.server.disconnect()

    assert await bot.people.ended(missed) == "white_check_mark"
