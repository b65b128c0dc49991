"""Slack's deliveries by HTTP: signed, once each; what is not Slack's is turned away."""

from __future__ import annotations

import io
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from bot.ports import Agent
from sandbox.service import SandboxService
from tests.doubles.model_server import ModelServer
from tests.doubles.slack_bot import SlackBot, slack_bot
from tests.doubles.slack_people import MENTION
from tests.doubles.slack_server import signed, slack_server

# one loop for the module: its tests share the sandboxes of tests/integration/conftest.py
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def connected_by_http(
    tmp_path_factory: pytest.TempPathFactory, sandboxes: SandboxService, agent: Agent
) -> AsyncIterator[SlackBot]:
    folder = tmp_path_factory.mktemp("slack")
    async with slack_server() as server, slack_bot(folder, sandboxes, server, http=True, agent=agent) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def by_http(connected_by_http: SlackBot, model: ModelServer) -> SlackBot:
    return await connected_by_http.as_new()


async def test_http_serves_mentions_commands_and_buttons(by_http: SlackBot, model: ModelServer) -> None:
    ts = await by_http.people.say(f"{MENTION} hello")
    await by_http.people.ended(ts)
    answer = by_http.people.thread(ts)[-1]

    status = await by_http.people.command("status")
    await by_http.people.press("threadbox_rerun", answer)
    await by_http.server.until(lambda: len(model.requests) == 2)

    assert "I am here" in status["text"]


async def test_the_same_signed_body_twice_is_one_turn(by_http: SlackBot, model: ModelServer) -> None:
    message = by_http.people.store(f"{MENTION} hello")
    body = aiohttp.JsonPayload(
        {"type": "event_callback", "team_id": "T1", "event_id": "Ev1", "event": {**message, "channel": "C1"}}
    )._value.decode()  # fmt: skip
    headers = {"Content-Type": "application/json", **signed(body)}

    async with aiohttp.ClientSession() as session:
        for _ in range(3):
            async with session.post(by_http.server.events_url, data=body, headers=headers) as response:
                assert response.status == 200
    await by_http.people.ended(message["ts"])

    assert len(model.requests) == 1


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"X-Slack-Request-Timestamp": "soon", "X-Slack-Signature": "v0=x"}, 401),
        ({"X-Slack-Request-Timestamp": "-1", "X-Slack-Signature": "v0=x"}, 401),
        ({"X-Slack-Request-Timestamp": "1700000000", "X-Slack-Signature": "v0=x"}, 401),
        ({"X-Slack-Request-Timestamp": "9" * 40, "X-Slack-Signature": "v0=x"}, 401),
        ({"X-Slack-Request-Timestamp": str(int(time.time())), "X-Slack-Signature": "v0=abc"}, 401),
        ({"X-Slack-Request-Timestamp": str(int(time.time()))}, 401),
    ],
)
async def test_what_is_not_slacks_is_turned_away(by_http: SlackBot, headers: dict[str, str], status: int) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            by_http.server.events_url, data=b'{"type": "url_verification", "challenge": "x"}', headers=headers
        ) as response,
    ):
        assert response.status == status


async def test_a_body_that_is_too_large_or_no_text_is_turned_away(by_http: SlackBot) -> None:
    async with aiohttp.ClientSession() as session:
        for body, status in ((io.BytesIO(b"x" * (2 << 20)), 413), (io.BytesIO(b"\xff\xfe"), 400)):
            headers = {"X-Slack-Request-Timestamp": str(int(time.time())), "X-Slack-Signature": "v0=abc"}
            async with session.post(by_http.server.events_url, data=body, headers=headers) as response:
                assert response.status == status
