"""Two requests of a person run at a time; a third waits, says so, and stands in nobody's way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from bot.model import Person, Receipt
from bot.ports import Agent
from sandbox.service import SandboxService
from tests.doubles.bot import Bot, running_bot
from tests.doubles.model_server import Fault, Held, ModelServer

# one loop for the module: its tests share the sandboxes of tests/integration/conftest.py
pytestmark = pytest.mark.asyncio(loop_scope="module")

BOB = Person(id="b", name="Bob")
WORDS = "You have 2 requests running already; this one starts when one of them ends."


@pytest_asyncio.fixture(loop_scope="module")
async def bot(tmp_path: Path, sandboxes: SandboxService, model: ModelServer, agent: Agent) -> AsyncIterator[Bot]:
    async with running_bot(tmp_path, sandboxes, agent=agent, running_per_person=2) as running:
        yield running


async def say(bot: Bot, text: str, thread: str, author: Person | None = None) -> Receipt:
    message = bot.message(text, thread)
    return await bot.intake.take(replace(message, author=author or message.author), bot.platform)


async def two_run(bot: Bot, model: ModelServer) -> list[Held]:
    """Messages 1 and 2, in threads a and b; each ends when the test says so."""
    held = [Held("one"), Held("two")]
    model.script[:] = list(held)
    for number, thread in enumerate("ab", 1):
        assert (await say(bot, f"run {thread}", thread)).answer == ""
        await model.asked(number)
    return held


async def test_a_third_request_waits_and_says_so_and_starts_when_one_has_ended(bot: Bot, model: ModelServer) -> None:
    held = await two_run(bot, model)
    model.script.append("three")

    receipt = await say(bot, "third", "c")
    asked = len(model.requests)
    held[0].release()

    assert receipt.answer == WORDS
    assert bot.platform.signs["3"][0] == "queued"
    assert asked == 2
    assert await bot.platform.ended("3") == "done"
    assert "2" not in [name for name, signs in bot.platform.signs.items() if "done" in signs]
    held[1].release()
    assert await bot.platform.ended("2") == "done"


async def test_other_people_overtake_who_waits(bot: Bot, model: ModelServer) -> None:
    held = await two_run(bot, model)
    model.script.append("for Bob")
    await say(bot, "third", "c")

    await say(bot, "Bob's", "d", BOB)

    assert await bot.platform.ended("4") == "done"
    assert "working" not in bot.platform.signs["3"]
    for one in held:
        one.release()
    assert await bot.platform.ended("3") == "done"


async def test_nobody_overtakes_within_a_thread(bot: Bot, model: ModelServer) -> None:
    held = await two_run(bot, model)
    model.script += ["for Ada", "for Bob"]
    await say(bot, "third", "c")

    behind = await say(bot, "Bob's, later", "c", BOB)
    held[1].release()
    await bot.platform.ended("4")

    assert behind.answer == ""
    assert bot.platform.signs["4"][0] == "queued"
    said = [request["messages"][-1]["content"] for request in model.requests]
    assert said[2:] == ["Ada: third", "Bob: Bob's, later"]
    held[0].release()
    assert await bot.platform.ended("1") == "done"


async def test_requests_in_a_thread_where_one_of_theirs_runs_wait_for_that_one_alone(
    bot: Bot, model: ModelServer
) -> None:
    held = await two_run(bot, model)

    receipt = await say(bot, "and also", "a")
    held[0].release()

    assert receipt.answer == ""
    assert await bot.platform.ended("3") == "done"
    held[1].release()
    assert await bot.platform.ended("2") == "done"


async def test_a_message_that_is_still_being_claimed_is_not_begun_by_the_end_of_another(
    bot: Bot, model: ModelServer
) -> None:
    """Its first sign would come after its last."""
    held = await two_run(bot, model)
    receipt = await bot.intake.claim(bot.message("third", "c"), bot.platform)
    assert receipt.turn is not None
    later = await say(bot, "and more", "c")

    held[0].release()
    await bot.platform.ended("1")
    held[1].release()
    await bot.platform.ended("2")
    still = await bot.turns.turn(receipt.turn.id)
    await bot.intake.begin(receipt)
    await bot.platform.ended("3")
    await bot.platform.ended("4")

    assert (receipt.answer, later.answer, still.status) == (WORDS, "", "queued")
    assert bot.platform.signs["3"] == ["queued", "working", "done"]
    assert [request["messages"][-1]["content"] for request in model.requests[2:]] == ["Ada: third", "Ada: and more"]


async def test_a_request_that_is_taken_back_while_it_waits_never_starts(bot: Bot, model: ModelServer) -> None:
    held = await two_run(bot, model)
    receipt = await say(bot, "third", "c")
    assert receipt.turn is not None

    await bot.intake.deleted(receipt.turn.key, "3")
    for one in held:
        one.release()
    for number in ("1", "2"):
        await bot.platform.ended(number)

    assert (await bot.turns.turn(receipt.turn.id)).status == "stopped"
    assert len(model.requests) == 2


async def test_a_request_that_is_stopped_while_it_waits_gets_its_sign_at_once(bot: Bot, model: ModelServer) -> None:
    held = await two_run(bot, model)
    await say(bot, "third", "c")

    receipt = await say(bot, "stop", "c")
    ended = await bot.platform.ended("3")

    assert (receipt.answer, ended) == ("Stopped before it began.", "stopped")
    assert len(model.requests) == 2
    for one in held:
        one.release()
    await bot.platform.ended("1")
    await bot.platform.ended("2")


async def test_a_turn_that_is_stopped_makes_room(bot: Bot, model: ModelServer) -> None:
    model.script[:] = [Fault(kind="hang"), Fault(kind="hang"), "three"]
    for number, thread in enumerate("ab", 1):
        await say(bot, f"run {thread}", thread)
        await model.asked(number)
    await say(bot, "third", "c")

    await say(bot, "stop", "a")

    assert await bot.platform.ended("3") == "done"
    await say(bot, "stop", "b")
    assert await bot.platform.ended("2") == "stopped"
