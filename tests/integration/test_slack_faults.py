"""What Slack and the network do to us: nothing is lost, nothing is said twice, and what a workspace lacks is done without."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from adapters.slack import stream as streams
from bot.delivery import Redelivery
from bot.errors import ConfigurationError
from bot.model import ThreadKey
from bot.ports import GONE
from sandbox.service import SandboxService
from tests.doubles.given_up import GivenUp
from tests.doubles.model_server import Fault as ModelFault
from tests.doubles.model_server import Held, ModelServer, python
from tests.doubles.slack_api import Fault
from tests.doubles.slack_bot import SlackBot, slack_bot
from tests.doubles.slack_people import MENTION, buttons, words
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


def thread_of(ts: str) -> ThreadKey:
    return ThreadKey(platform="slack", workspace="T1", channel="C1", thread=ts)


@pytest.mark.parametrize("fault", [Fault("cut_after"), Fault("cut"), Fault("status", 503), Fault("ratelimited", 0.1)])
async def test_a_post_whose_answer_was_lost_is_there_once(bot: SlackBot, model: ModelServer, fault: Fault) -> None:
    bot.server.api.lacks.add("chat.startStream")
    bot.server.api.faults["chat.postMessage"].append(fault)

    ts = await bot.people.say(f"{MENTION} hello")
    await bot.people.ended(ts)

    assert sum("Done." in words(message) for message in bot.people.thread(ts)) == 1


@pytest.mark.parametrize("fault", [Fault("cut_after"), Fault("cut"), Fault("status", 500)])
async def test_a_stream_whose_start_was_lost_is_one_message(bot: SlackBot, model: ModelServer, fault: Fault) -> None:
    model.script[:] = [python("print('once')"), "Done."]
    bot.server.api.faults["chat.startStream"].append(fault)

    ts = await bot.people.say(f"{MENTION} hello")
    await bot.people.ended(ts)

    assert sum("print('once')" in words(message) for message in bot.people.thread(ts)) == 1


@pytest.mark.parametrize("fault", [Fault("cut_after"), Fault("cut"), Fault("status", 500)])
async def test_a_file_whose_answer_was_lost_is_shown_once(bot: SlackBot, model: ModelServer, fault: Fault) -> None:
    model.script[:] = [python("open('a.txt', 'w').write('a')"), "Done."]
    bot.server.api.faults["files.completeUploadExternal"].append(fault)

    ts = await bot.people.say(f"{MENTION} write")
    await bot.people.ended(ts)

    assert bot.people.shown(ts).count("[file a.txt]") == 1


async def test_a_stream_that_dies_is_mended_by_an_edit(bot: SlackBot, model: ModelServer) -> None:
    bot.server.api.stream_appends = 1
    model.script[:] = [
        python("import time\nfor i in range(4): print('line', i, flush=True); time.sleep(0.15)"),
        "Done.",
    ]

    ts = await bot.people.say(f"{MENTION} count")
    await bot.people.ended(ts)

    cell = bot.people.thread(ts)[0]
    assert cell["edits"] >= 1
    assert "line 0\nline 1\nline 2\nline 3" in words(cell)


async def test_a_stream_that_grows_old_is_stopped_in_time_and_edited(
    bot: SlackBot, model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "STREAM_SECONDS", 0.2)
    model.script[:] = [
        python("import time\nfor i in range(5): print('line', i, flush=True); time.sleep(0.15)"),
        "Done.",
    ]

    ts = await bot.people.say(f"{MENTION} count")
    await bot.people.ended(ts)

    cell = bot.people.thread(ts)[0]
    assert not cell["streaming"]
    assert cell["edits"] >= 1
    assert "line 4" in words(cell)


@pytest.mark.parametrize(
    "lacks",
    [
        {"chat.startStream"},
        {"chat.startStream", "agents.sessions.setStatus"},
        {"chat.startStream", "agents.sessions.setStatus", "assistant.threads.setStatus", "thumbs"},
        {"chat.startStream", "agents.sessions.setStatus", "assistant.threads.setStatus", "thumbs", "blocks"},
    ],
    ids=["no streams", "no sessions", "no thumbs", "plain text"],
)
async def test_a_workspace_is_served_at_its_level_and_asked_once(
    bot: SlackBot, model: ModelServer, lacks: set[str]
) -> None:
    bot.server.api.lacks |= lacks
    model.script[:] = [python("print(6 * 7)"), "It is 42.", "Again."]

    first = await bot.people.say(f"{MENTION} one")
    await bot.people.ended(first)
    second = await bot.people.say("two", thread=first)
    await bot.people.ended(second)

    shown = bot.people.shown(first)
    assert "42" in shown
    assert "Again." in shown
    tried = [method for _, method, _ in bot.server.api.calls]
    assert all(tried.count(method) <= 2 for method in lacks - {"thumbs", "blocks"})
    last = bot.people.thread(first)[-1]
    assert bool(buttons(last)) == ("blocks" not in lacks)


async def test_slacks_own_rate_limit_is_waited_out(bot: SlackBot, model: ModelServer) -> None:
    for method in ("chat.postMessage", "chat.update", "reactions.add"):
        bot.server.api.faults[method].extend([Fault("ratelimited", 0.2)] * 2)
    bot.server.api.lacks.add("chat.startStream")
    model.script[:] = [python("print(6 * 7)"), "It is 42."]

    ts = await bot.people.say(f"{MENTION} go")
    await bot.people.ended(ts)

    assert "42" in bot.people.shown(ts)
    assert "It is 42." in bot.people.shown(ts)


async def test_duplicates_and_reordered_deliveries_are_answered_once_in_order(
    bot: SlackBot, model: ModelServer
) -> None:
    model.script[:] = [ModelFault(kind="hang")]
    root = await bot.people.say(f"{MENTION} first")
    await bot.people.sees(root, "Let me think")
    late = [bot.people.store(f"{MENTION} number {number}", thread=root) for number in range(3)]

    events = [{**message, "channel": "C1"} for message in (late[2], late[0], late[1], late[0], late[2])]
    await asyncio.gather(*(bot.server.event(event) for event in events))
    await bot.people.say("stop", thread=root)
    for message in late:
        await bot.people.ended(message["ts"])

    asked = [request["messages"][-1]["content"].rpartition("\n")[2] for request in model.requests[1:]]
    assert sorted(asked) == [f"Ada: number {number}" for number in range(3)]


async def test_wrong_tokens_are_named_at_the_start(
    tmp_path: Path, sandboxes: SandboxService, chat: SlackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, words_shown in (("BOT_TOKEN", "SLACK_BOT_TOKEN"), ("APP_TOKEN", "SLACK_APP_TOKEN")):
        with monkeypatch.context() as patch:
            patch.setattr(f"tests.doubles.slack_bot.{name}", "xoxb-wrong" if name == "BOT_TOKEN" else "xapp-wrong")
            with pytest.raises(ConfigurationError, match=words_shown):
                async with slack_bot(tmp_path, sandboxes, chat):
                    pass


async def test_a_failure_that_is_no_json_ends_nothing_but_its_call(bot: SlackBot, model: ModelServer) -> None:
    bot.server.api.faults["reactions.add"].extend([Fault("status", 503)] * 4)
    bot.server.api.faults["agents.sessions.setStatus"].extend([Fault("status", 503)] * 4)

    first = await bot.people.say(f"{MENTION} one")
    await bot.people.sees(first, "Done.")
    second = await bot.people.say("two", thread=first)

    assert await bot.people.ended(second) == "white_check_mark"


async def test_an_answer_is_posted_however_often_it_was_cut_off(
    bot: SlackBot, model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.delivery.FIRST_RETRY_SECONDS", 0.001)
    bot.server.api.lacks.add("chat.startStream")
    bot.server.api.faults["chat.postMessage"].extend([Fault("cut")] * 12)

    ts = await bot.people.say(f"{MENTION} hello")

    assert await bot.people.ended(ts) == "white_check_mark"
    assert sum("Done." in words(message) for message in bot.people.thread(ts)) == 1


WRITING = ("chat.startStream", "chat.appendStream", "chat.stopStream", "chat.update", "chat.postMessage")


@pytest.mark.parametrize("word", ["channel_not_found", "is_archived", "not_in_channel", "restricted_action"])
async def test_a_channel_that_goes_in_a_turn_ends_its_replies(bot: SlackBot, model: ModelServer, word: str) -> None:
    held = Held()
    model.script[:] = [python("print('went')"), held]
    ts = await bot.people.say(f"{MENTION} wait")
    await bot.people.sees(ts, "went")
    for method in WRITING:
        bot.server.api.faults[method].extend([Fault(word)] * 50)

    held.release()
    await bot.people.ended(ts)

    turn = (await bot.parts.history.entries(thread_of(ts), 1))[0]
    assert [one.message_id for one in await bot.parts.history.posted(turn.turn_id or "")][-1] == GONE
    assert len(bot.server.api.faults["chat.postMessage"]) == 49


async def test_a_post_that_failed_is_given_up_once_its_channel_is_gone(bot: SlackBot, model: ModelServer) -> None:
    bot.server.api.lacks.add("chat.startStream")
    bot.server.api.faults["chat.postMessage"].extend([Fault("cut"), Fault("channel_not_found")])
    bot.server.api.faults["conversations.replies"].append(Fault("channel_not_found"))

    ts = await bot.people.say(f"{MENTION} hello")

    assert await bot.people.ended(ts) == "white_check_mark"
    assert bot.people.thread(ts) == []


async def test_an_append_whose_answer_was_lost_is_not_there_twice(bot: SlackBot, model: ModelServer) -> None:
    bot.server.api.faults["chat.appendStream"].append(Fault("cut_after"))
    model.script[:] = [
        python("import time\nfor i in range(4): print('line', i, flush=True); time.sleep(0.15)"),
        "Done.",
    ]

    ts = await bot.people.say(f"{MENTION} count")
    await bot.people.ended(ts)

    blocks = [block["text"] for block in bot.people.thread(ts)[0]["blocks"] if block["type"] == "markdown"]
    assert blocks[0].count("line 0\nline 1") == 1


async def test_a_stop_that_is_told_of_twice_stops_one_run(bot: SlackBot, model: ModelServer) -> None:
    model.script[:] = [ModelFault(kind="hang"), "Second."]
    root = await bot.people.say(f"{MENTION} first")
    await bot.people.sees(root, "Let me think")
    queued = await bot.people.say("second", thread=root)
    stop = {"type": "agent_session_stopped", "channel": "C1", "thread_ts": root, "user": "UADA", "event_ts": queued}

    await bot.server.event(stop)
    await bot.people.ended(root)
    await bot.server.event(stop)

    assert await bot.people.ended(queued) == "white_check_mark"


async def test_a_quick_turn_leaves_no_session_at_work(bot: SlackBot, model: ModelServer) -> None:
    ts = await bot.people.say(f"{MENTION} hello")
    await bot.people.ended(ts)

    await bot.server.until(lambda: not bot.server.api.statuses or bot.server.api.statuses[-1]["status"] == "active")


async def test_a_file_that_is_larger_than_slack_said_is_left_out_and_named(bot: SlackBot, model: ModelServer) -> None:
    file = bot.people.file("big.bin", b"x" * (2 << 20)) | {"size": 0}

    ts = await bot.people.say(f"{MENTION} look", files=[file])
    await bot.people.ended(ts)

    assert "big.bin could not be fetched and was left out" in bot.people.shown(ts)


async def test_an_answer_that_was_given_up_is_swept_up_with_its_files(bot: SlackBot, model: ModelServer) -> None:
    model.script[:] = [python("open('a.txt', 'w').write('a')"), "Done."]
    ts = await bot.people.say(f"{MENTION} write")
    await bot.people.ended(ts)
    turn = (await bot.parts.history.entries(thread_of(ts), 1))[0]
    given_up = [reply for reply in turn.replies if "a.txt" in str(reply)]
    bot.server.api.messages["C1"] = [m for m in bot.server.api.messages["C1"] if not m.get("files")]
    for file in bot.server.api.files.values():
        file["channels"] = []

    outbox: Any = GivenUp(given_up[0], thread_of(ts))

    settled = await Redelivery(outbox, bot.parts.platforms).sweep()

    assert settled == 1
    assert bot.people.shown(ts).count("[file a.txt]") == 1
    assert sum("open('a.txt'" in words(message) for message in bot.people.thread(ts)) == 1
