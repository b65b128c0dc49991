"""What people do with an answer in Discord, beside the conversation: on a loopback Discord, with real containers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.doubles.discord_bot import DiscordBot
from tests.doubles.discord_people import MENTION
from tests.doubles.model_server import Fault, ModelServer, python

# one loop for the module: its tests share the sandboxes and the connection
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.docker]


@pytest_asyncio.fixture(loop_scope="module")
async def bot(connected_discord: DiscordBot, model: ModelServer) -> AsyncIterator[DiscordBot]:
    yield await connected_discord.as_new()
    assert connected_discord.server.violations == []


async def test_the_buttons_under_an_answer(bot: DiscordBot, model: ModelServer) -> None:
    long = "\n".join(f"value_{number} = {number}" for number in range(300)) + "\nprint('x' * 7000)"
    model.script[:] = [python(long), "Done.", python("print('again')"), "Again."]
    people = bot.people
    asked = await people.say(f"{MENTION} long")
    await people.ended(asked)
    cell, answer = people.said(asked)

    code = await people.press("tb:code:", cell)
    output = await people.press("tb:output:", cell, user="bob")
    await bot.server.until(lambda: "value_299" in code.shown and output.shown.count("x") > 6_900)
    good = await people.press("tb:good:", answer, user="bob")
    await bot.server.until(lambda: "Thank you" in good.shown)
    for deed in ("rerun", "delete", "reset"):
        refused = await people.press(f"tb:{deed}:", answer, user="bob")
        await bot.server.until(lambda refused=refused: "Only the person who asked" in refused.shown)
    await people.press("tb:rerun:", answer)
    await people.sees(asked, "Again.")
    reset = await people.press("tb:reset:", answer)
    await bot.server.until(lambda: "variables and files are gone" in reset.shown)
    await people.press("tb:delete:", answer)
    await bot.server.until(lambda: "value_0" not in people.shown(asked))

    assert code.ephemeral and output.ephemeral and reset.ephemeral
    assert all(len(message["content"]) <= 2000 for message in people.messages(asked))


async def test_code_is_run_again_with_input_and_arguments(bot: DiscordBot, model: ModelServer) -> None:
    model.script[:] = [
        python("import sys\nprint('none' if len(sys.argv) < 2 else input('name? ') + sys.argv[1])"),
        "Done.",
        lambda body: python(body["messages"][-1]["content"].partition("```python\n")[2].rpartition("\n```")[0]),
        "Done again.",
    ]
    asked = await bot.people.say(f"{MENTION} greet")
    await bot.people.ended(asked)

    form = await bot.people.press("tb:input:")
    await bot.people.submit(form, {"text": "Grace\n", "arguments": "'!!'"})

    await bot.people.sees(asked, "name? Grace!!")
    await bot.people.sees(asked, "Done again.")


async def test_run_this_code_runs_a_message_for_who_asked(bot: DiscordBot, model: ModelServer) -> None:
    message = bot.people.store("try\n```\nprint(1)\n```", user="bob")

    await bot.people.menu("Run this code", message)
    request = await bot.server.until(lambda: next(iter(bot.people.said("general")), None))
    await bot.people.ended(request["id"])

    content = model.requests[0]["messages"][-1]["content"]
    assert "Ada: Run this code as it is:\ntry\n```\nprint(1)" in content
    assert "Done." in bot.people.shown(request["id"])


async def test_ask_is_a_mention_by_command(bot: DiscordBot, model: ModelServer) -> None:
    await bot.people.slash("ask", text="what is 1 + 1?")
    request = await bot.server.until(lambda: next(iter(bot.people.said("general")), None))

    assert await bot.people.ended(request["id"]) == "✅"
    assert "> what is 1 + 1?" in request["content"]
    assert model.requests[0]["messages"][-1]["content"].endswith("Ada: what is 1 + 1?")


async def test_a_changed_message_offers_another_run(bot: DiscordBot, model: ModelServer) -> None:
    asked = await bot.people.say(f"{MENTION} one")
    await bot.people.ended(asked)

    await bot.people.unfurl(asked)
    await bot.people.edit(asked, f"{MENTION} two")
    await bot.server.until(lambda: "🔁" in bot.people.reactions(asked))
    await bot.people.react(asked, "🔁", user="bob")
    await bot.people.react(asked, "🔁")
    await bot.server.until(lambda: len(model.requests) == 2)
    await bot.server.until(lambda: "🔁" not in bot.people.reactions(asked))

    assert model.requests[1]["messages"][-1]["content"] == "Ada: two"


async def test_a_deleted_message_stops_its_run(bot: DiscordBot, model: ModelServer) -> None:
    model.script[:] = [Fault(kind="hang")]
    asked = await bot.people.say(f"{MENTION} one")
    await bot.people.sees(asked, "Let me think")

    await bot.people.delete(asked)

    await bot.people.sees(asked, "Stopped.")
