"""What Discord and the network do to our calls: nothing is lost, and nothing is said twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from adapters.discord import calls
from bot.delivery import Redelivery
from bot.model import ThreadKey
from bot.ports import GONE
from tests.doubles.discord_bot import DiscordBot
from tests.doubles.discord_guild import GENERAL, GUILD
from tests.doubles.discord_messages import words
from tests.doubles.discord_people import MENTION
from tests.doubles.discord_server import Fault
from tests.doubles.given_up import GivenUp
from tests.doubles.model_server import Held, ModelServer, python

# one loop for the module: its tests share the sandboxes of tests/integration/conftest.py
pytestmark = pytest.mark.asyncio(loop_scope="module")

POST = ("POST", "/channels/{channel_id}/messages")
READ = ("GET", "/channels/{channel_id}/messages")
EDIT = ("PATCH", "/channels/{channel_id}/messages/{message_id}")
THREAD = ("POST", "/channels/{channel_id}/messages/{message_id}/threads")
REACT = ("PUT", "/channels/{channel_id}/messages/{message_id}/reactions/{emoji_name}/@me")
FAULTS = [
    Fault("cut"),
    Fault("cut_after"),
    Fault("status", 503),
    Fault("status", 520),
    Fault("429_via", 0.1),
    Fault("429_banned"),
]
COUNT = "import time\nfor i in range(6): print('line', i, flush=True); time.sleep(0.1)"


@pytest_asyncio.fixture(loop_scope="module")
async def bot(
    connected_discord: DiscordBot, model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[DiscordBot]:
    monkeypatch.setattr(calls, "FIRST_WAIT_SECONDS", 0.02)
    yield await connected_discord.as_new()
    assert connected_discord.server.violations == []


def named(fault: Fault) -> str:
    return f"{fault.kind}-{fault.value}"


@pytest.mark.parametrize("fault", FAULTS, ids=named)
async def test_a_post_that_fails_or_whose_answer_is_lost_is_there_once(
    bot: DiscordBot, model: ModelServer, fault: Fault
) -> None:
    bot.server.faults[POST].append(fault)

    asked = await bot.people.say(f"{MENTION} hello")

    assert await bot.people.ended(asked) == "✅"
    assert [words(message).split("\n")[0] for message in bot.people.said(asked) if message["content"]] == ["Done."]


@pytest.mark.parametrize("fault", [*FAULTS, Fault("error", (404, 10008))], ids=named)
async def test_an_edit_that_fails_is_made_again(bot: DiscordBot, model: ModelServer, fault: Fault) -> None:
    model.script[:] = [python(COUNT), "Done."]
    bot.server.faults[EDIT].append(fault)

    asked = await bot.people.say(f"{MENTION} count")
    await bot.people.ended(asked)

    assert bot.people.shown(asked).count("line 5") == 1


@pytest.mark.parametrize("fault", FAULTS, ids=named)
async def test_a_thread_is_made_once(bot: DiscordBot, model: ModelServer, fault: Fault) -> None:
    bot.server.faults[THREAD].append(fault)

    asked = await bot.people.say(f"{MENTION} hello")
    await bot.people.ended(asked)

    threads = [one for one in bot.server.api.guild.channels.values() if one.get("parent_id") == GENERAL]
    assert [thread["id"] for thread in threads] == [asked]
    assert "Done." in bot.people.shown(asked)


async def test_a_thread_that_somebody_made_first_is_taken(bot: DiscordBot, model: ModelServer) -> None:
    asked = await bot.people.say(f"{MENTION} hello")
    bot.people.start_thread(asked, "somebody was faster", user="bob")
    await bot.people.ended(asked)

    assert "Done." in bot.people.shown(asked)


@pytest.mark.parametrize("why", ["permission", "too many"])
async def test_where_no_thread_may_be_made_the_answer_comes_in_place(
    bot: DiscordBot, model: ModelServer, why: str
) -> None:
    guild = bot.server.api.guild
    if why == "permission":
        guild.deny("random", "create_public_threads")
    else:
        guild.thread_limit = 0

    asked = await bot.people.say(f"{MENTION} hello", channel="random")
    await bot.people.ended(asked)

    assert "Done." in bot.people.shown("random")
    assert bot.people.said("random")[-1]["message_reference"]["message_id"] == asked


async def test_a_reaction_that_is_refused_costs_nothing_else(bot: DiscordBot, model: ModelServer) -> None:
    bot.server.faults[REACT] += [Fault("error", (403, 90001))] * 2

    asked = await bot.people.say(f"{MENTION} hello")

    await bot.people.sees(asked, "Done.")


async def test_a_file_that_discord_refuses_is_named(bot: DiscordBot, model: ModelServer) -> None:
    model.script[:] = [python("open('big.bin', 'wb').write(b'x' * 400)\nprint('made')"), "Done."]
    bot.server.api.messages.file_bytes = 300

    asked = await bot.people.say(f"{MENTION} make")
    await bot.people.ended(asked)
    bot.server.violations.clear()  # that it was tried

    assert "big.bin (400 B) is not attached: Discord refused it." in bot.people.shown(asked)
    assert "made" in bot.people.shown(asked)


async def test_a_file_over_the_servers_limit_is_named_with_its_size(bot: DiscordBot, model: ModelServer) -> None:
    model.script[:] = [python("open('big.bin', 'wb').write(b'x' * 400)\nprint('made')"), "Done."]
    limit, bot.discord.platform.file_limit = bot.discord.platform.file_limit, lambda workspace: 300

    asked = await bot.people.say(f"{MENTION} make")
    await bot.people.ended(asked)
    bot.discord.platform.file_limit = limit

    assert "big.bin (400 B) is not attached: a file here may have 300 B." in bot.people.shown(asked)


async def test_a_thread_that_is_deleted_ends_its_run_and_its_sandbox(bot: DiscordBot, model: ModelServer) -> None:
    model.script[:] = [python("import time; print('go', flush=True); time.sleep(60)"), "never"]
    asked = await bot.people.say(f"{MENTION} wait")
    await bot.people.sees(asked, "go")

    bot.people.delete_thread(asked)

    assert await bot.people.ended(asked) == "🛑"
    await bot.server.until(lambda: not live(bot, asked))


async def test_a_locked_thread_keeps_its_state_for_when_it_is_opened(bot: DiscordBot, model: ModelServer) -> None:
    model.script[:] = [python("kept = 3"), "Kept.", python("print('kept', kept)"), "Three."]
    asked = await bot.people.say(f"{MENTION} keep")
    await bot.people.ended(asked)

    bot.people.archive_thread(asked, locked=True)
    await bot.server.until(lambda: not live(bot, asked))
    bot.server.api.guild.set_thread(asked, archived=False, locked=False)
    again = await bot.people.say("which?", thread=asked)
    await bot.people.ended(again)

    assert "kept 3" in bot.people.shown(asked)


def live(bot: DiscordBot, thread: str) -> bool:
    entries = bot.parts.sandboxes.entries
    return any(name.endswith(f"/{thread}") and entry.has_container for name, entry in entries.items())


async def test_a_thread_that_was_archived_meanwhile_is_opened_for_the_answer(
    bot: DiscordBot, model: ModelServer
) -> None:
    held = Held()
    model.script[:] = [python("print('went')"), held]
    asked = await bot.people.say(f"{MENTION} wait")
    await bot.people.sees(asked, "went")

    bot.people.archive_thread(asked)
    held.release()
    await bot.people.ended(asked)

    assert "Done." in bot.people.shown(asked)


async def test_a_thread_that_nobody_has_in_mind_goes_on(bot: DiscordBot, model: ModelServer) -> None:
    """discord.py forgets archived threads: a message there comes without them."""
    asked = await bot.people.say(f"{MENTION} hello")
    await bot.people.ended(asked)
    bot.people.archive_thread(asked)
    model.script[:] = ["Still here."]

    again = await bot.people.say("are you?", thread=asked)

    assert await bot.people.ended(again) == "✅"
    assert "Still here." in bot.people.shown(asked)


async def test_a_swept_up_answer_is_found_and_not_said_again(bot: DiscordBot, model: ModelServer) -> None:
    asked = await bot.people.say(f"{MENTION} hello")
    await bot.people.ended(asked)
    key = ThreadKey(platform="discord", workspace=GUILD, channel=GENERAL, thread=asked)
    entries = await bot.parts.history.entries(key, 1)
    outbox: Any = GivenUp(entries[0].replies[-1], key)
    before = len(bot.people.messages(asked))

    await Redelivery(outbox, {"discord": bot.discord.platform}).sweep()

    assert len(bot.people.messages(asked)) == before


async def test_a_thread_that_is_gone_is_not_tried_again(bot: DiscordBot, model: ModelServer) -> None:
    asked = await bot.people.say(f"{MENTION} hello")
    await bot.people.ended(asked)
    key = ThreadKey(platform="discord", workspace=GUILD, channel=GENERAL, thread=asked)
    reply = replace((await bot.parts.history.entries(key, 1))[0].replies[-1], part=9)
    for call in (READ, POST):
        bot.server.faults[call].append(Fault("error", (404, 10003)))

    assert await bot.discord.platform.find(key, reply) is None
    assert await bot.discord.platform.publish(key, reply) == GONE
