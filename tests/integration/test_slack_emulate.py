"""The adapter by HTTP on a Slack that we did not write: Vercel's emulate, which has no streams and no sessions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from bot.ports import Agent
from sandbox.service import SandboxService
from tests.conftest import missing
from tests.doubles.emulated_slack import BOT_USER, EmulatedSlack, emulated_slack, is_installed
from tests.doubles.model_server import ModelServer, python
from tests.doubles.slack_bot import slack_bot_at

# one loop for the module: its tests share the sandboxes of tests/integration/conftest.py
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.browser]

MENTION = f"<@{BOT_USER}>"


@dataclass
class Place:
    """A channel of the emulated Slack."""

    slack: EmulatedSlack
    channel: str


@pytest_asyncio.fixture(loop_scope="module")
async def place(tmp_path: Path, sandboxes: SandboxService, model: ModelServer, agent: Agent) -> AsyncIterator[Place]:
    if not is_installed():
        missing("emulate", "run .ci/machine emulate")
    async with emulated_slack() as slack:
        channel = await slack.channel()
        async with slack_bot_at(slack.url, tmp_path, sandboxes, agent=agent) as events:
            await slack.subscribe(events)
            yield Place(slack, channel)


async def test_a_mention_and_a_follow_up(place: Place, model: ModelServer) -> None:
    model.script[:] = [python("x = 21; print('kept', x)"), "Kept it.", python("print(x * 2)"), "Doubled it."]

    root = await place.slack.say(place.channel, f"{MENTION} keep 21")
    await place.slack.shows(place.channel, root, "Kept it.")
    await place.slack.say(place.channel, "double it", thread=root)
    shown = await place.slack.shows(place.channel, root, "Doubled it.")

    await place.slack.reacted(place.channel, root, "white_check_mark")
    assert "kept 21" in str(shown)
    assert "42" in str(shown)
    assert len(model.requests) == 4
    assert model.requests[0]["messages"][-1]["content"] == "ada: keep 21"


async def test_files_both_ways(place: Place, model: ModelServer) -> None:
    model.script[:] = [python("open('out.csv', 'w').write(open('in.csv').read().upper())"), "Written."]

    ts = await place.slack.share(place.channel, "in.csv", b"a,b", f"{MENTION} upper")
    await place.slack.shows(place.channel, ts, "Written.")

    listed = await place.slack.call("files.list", "xoxb-test-token")
    sent = next(one for one in listed["files"] if one["name"] == "out.csv")
    assert sent["size"] == 3


async def test_an_edit_of_a_message_that_ran_changes_what_runs_again(place: Place, model: ModelServer) -> None:
    ts = await place.slack.say(place.channel, f"{MENTION} one")
    await place.slack.shows(place.channel, ts, "Done.")

    await place.slack.call("chat.update", channel=place.channel, ts=ts, text=f"{MENTION} two")
    await place.slack.say(place.channel, "and now?", thread=ts)
    await place.slack.shows(place.channel, ts, "Done.")

    assert "Ada" not in str(model.requests[0]["messages"][-1]["content"])
    assert model.requests[0]["messages"][-1]["content"] == "ada: one"


async def test_only_an_admin_sets_options_of_the_channel(place: Place, model: ModelServer) -> None:
    root = await place.slack.say(place.channel, f"{MENTION} hello")
    await place.slack.shows(place.channel, root, "Done.")

    await place.slack.say(place.channel, f"{MENTION} config set channel followups mention", thread=root)
    first = await place.slack.say(place.channel, "one", thread=root)
    await place.slack.reacted(place.channel, first, "white_check_mark")
    await place.slack.say(
        place.channel, f"{MENTION} config set channel followups mention", thread=root, token="xoxp-admin"
    )
    await place.slack.say(place.channel, "two", thread=root)
    last = await place.slack.say(place.channel, f"{MENTION} three", thread=root)
    await place.slack.reacted(place.channel, last, "white_check_mark")

    asked = [request["messages"][-1]["content"].rpartition(": ")[2] for request in model.requests]
    assert asked == ["hello", "one", "three"]
