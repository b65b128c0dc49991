"""What an operator meets: the manifest, and what doctor says of tokens and scopes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from adapters.slack.check import check, wanted_scopes
from adapters.slack.manifest import manifest
from bot.errors import ConfigurationError
from tests.doubles.slack_bot import config
from tests.doubles.slack_server import SlackServer, slack_server


@pytest.fixture
async def chat() -> AsyncIterator[SlackServer]:
    async with slack_server() as running:
        yield running


async def test_doctor_says_that_all_is_well(chat: SlackServer) -> None:
    chat.api.scopes = wanted_scopes()

    findings = await check(config(chat.api.url))

    assert [(finding.level, finding.what) for finding in findings] == [
        ("ok", "Slack knows the bot as threadbox of Example"),
        ("ok", "Slack gives a socket (Socket Mode)"),
    ]


async def test_doctor_names_each_scope_that_is_missing(chat: SlackServer) -> None:
    chat.api.scopes = [scope for scope in wanted_scopes() if scope != "files:write"]

    findings = await check(config(chat.api.url))

    assert [finding.what for finding in findings if finding.level == "warning"] == [
        "The Slack app lacks the scope files:write"
    ]


async def test_doctor_tells_the_two_tokens_apart(chat: SlackServer) -> None:
    bot = await check(replace(config(chat.api.url), bot_token="xoxb-wrong"))
    app = await check(replace(config(chat.api.url), app_token="xapp-wrong"))
    away = await check(replace(config(chat.api.url), api_url="http://127.0.0.1:9/api/"))

    assert bot[0].what == "Slack does not accept SLACK_BOT_TOKEN (invalid_auth)"
    assert app[-1].what.startswith("Slack refused SLACK_APP_TOKEN (invalid_auth)")
    assert away[0].what.startswith("Slack cannot be reached")


def test_the_manifest_has_the_operators_names_and_address() -> None:
    text = manifest("Run Bot", "/run", "https://bots.example/")

    assert 'name: "Run Bot"' in text
    assert 'display_name: "run-bot"' in text
    assert "command: /run\n" in text
    assert text.count("https://bots.example/slack/events") == 3
    assert "socket_mode_enabled: false" in text


def test_the_manifest_asks_for_the_events_that_are_handled() -> None:
    text = manifest("Threadbox", "/sandbox", None)

    for event in ("app_mention", "message.channels", "message.im", "agent_session_stopped", "app_home_opened"):
        assert f"- {event}\n" in text
    for callback in ("threadbox_run", "threadbox_stop", "threadbox_delete"):
        assert f"callback_id: {callback}\n" in text
    assert "socket_mode_enabled: true" in text
    assert len(wanted_scopes()) == 12


@pytest.mark.parametrize(
    ("name", "command", "url"),
    [("x" * 36, "/run", None), ('a"b', "/run", None), ("A", "run", None), ("A", "/run", "http://plain.example")],
)
def test_what_slack_would_not_take_is_refused(name: str, command: str, url: str | None) -> None:
    with pytest.raises(ConfigurationError):
        manifest(name, command, url)
