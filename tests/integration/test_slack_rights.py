"""Options and rights in Slack: the command, the form, who may set what, who may ask at all."""

from __future__ import annotations

import pytest
import pytest_asyncio

from tests.doubles.model_server import ModelServer, python
from tests.doubles.slack_bot import SlackBot
from tests.doubles.slack_people import MENTION, buttons

# one loop for the module: its tests share the sandboxes of tests/integration/conftest.py
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def bot(connected: SlackBot, model: ModelServer) -> SlackBot:
    return await connected.as_new()


async def test_the_slash_command_answers_whom_it_was_asked_by(bot: SlackBot) -> None:
    helped = await bot.people.command("")
    refused = await bot.people.command("config set timeout 5")
    done = await bot.people.command("config set timeout 5", user="UROOT")
    wrong = await bot.people.command("config set timeout 9999", user="UROOT")
    shown = await bot.people.command("config show")

    assert "Mention me" in helped["text"]
    assert refused["text"] == "Only an admin may set timeout for the channel."
    assert done["text"] == "timeout is now 5 for the channel."
    assert "timeout is a number from 1 to 60" in wrong["text"]
    assert "**timeout**: 5 (channel)" in shown["text"]
    assert helped["response_type"] == "ephemeral"


async def test_the_form_of_options_names_mistakes_and_keeps_nothing_of_a_wrong_one(bot: SlackBot) -> None:
    view = await bot.people.command("config", user="UROOT")

    wrong = await bot.people.submit(view, {"timeout": "soon", "prompt": "Be brief."}, user="UROOT")
    before = await bot.people.command("config show")
    fine = await bot.people.submit(view, {"timeout": "7", "prompt": "Be brief."}, user="UROOT")
    after = await bot.people.command("config show")

    assert list(wrong) == ["timeout"]
    assert "**prompt**: (empty)" in before["text"]
    assert fine == {}
    assert "**prompt**: Be brief. (channel)" in after["text"]
    assert "**timeout**: 7 (channel)" in after["text"]


async def test_a_thread_is_configured_by_mention_and_obeys(bot: SlackBot, model: ModelServer) -> None:
    model.script[:] = ["Hello.", python("print('hidden?')"), "Done."]
    ts = await bot.people.say(f"{MENTION} hello")
    await bot.people.ended(ts)

    await bot.people.say(f"{MENTION} config set show_code off", thread=ts)
    second = await bot.people.say("go on", thread=ts)
    await bot.people.ended(second)

    assert any("show_code is now off for the thread" in whisper["text"] for whisper in bot.server.api.whispers)
    cell = bot.people.thread(ts)[1]
    assert "print(" not in str(cell.get("blocks")) + cell["text"]
    assert "threadbox_code" in {button["action_id"] for button in buttons(cell)}


async def test_the_form_of_a_thread_opens_by_a_button(bot: SlackBot, model: ModelServer) -> None:
    ts = await bot.people.say(f"{MENTION} hello")
    await bot.people.ended(ts)

    await bot.people.say(f"{MENTION} config", thread=ts)
    told = await bot.server.until(lambda: [whisper for whisper in bot.server.api.whispers if buttons(whisper)])
    await bot.people.press("threadbox_form", {**told[-1], "ts": ts})
    view = await bot.server.until(lambda: bot.server.api.views and bot.server.api.views[-1])
    mistakes = await bot.people.submit(view, {"prompt": "Answer in French."})
    again = await bot.people.say("and now?", thread=ts)
    await bot.people.ended(again)

    assert mistakes == {}
    assert "guests" not in {block["block_id"] for block in view["blocks"]}
    assert "Answer in French." in model.requests[-1]["messages"][0]["content"]


@pytest.mark.parametrize(
    ("user", "words"), [("UGUEST", "Guests may not run code"), ("UEXT", "other companies"), ("UGHOST", "who you are")]
)
async def test_strangers_are_told_why_and_nothing_runs(
    bot: SlackBot, model: ModelServer, user: str, words: str
) -> None:
    await bot.people.say(f"{MENTION} run", user=user)
    told = await bot.server.until(lambda: bot.server.api.whispers and bot.server.api.whispers[-1])

    assert words in told["text"]
    assert "thread_ts" not in told  # under a message without replies nobody would see it
    assert model.requests == []


async def test_other_bots_are_not_answered_at_all(bot: SlackBot, model: ModelServer) -> None:
    await bot.server.event(
        {"type": "message", "bot_id": "BOTHER", "user": "UROBOT", "channel": "C1", "ts": "1.1", "text": MENTION}
    )

    assert bot.server.api.whispers == []
    assert model.requests == []
