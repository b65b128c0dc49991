"""Who has a request running already is told on each platform that the next one waits."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.service import SandboxService
from tests.doubles.discord_bot import discord_bot
from tests.doubles.discord_guild import GENERAL
from tests.doubles.discord_people import MENTION as DISCORD_MENTION
from tests.doubles.discord_server import discord_server
from tests.doubles.slack_bot import slack_bot
from tests.doubles.slack_people import MENTION as SLACK_MENTION
from tests.doubles.slack_server import slack_server

# one loop for the module: its tests share the sandboxes of tests/integration/conftest.py
pytestmark = pytest.mark.asyncio(loop_scope="module")

WORDS = "You have 1 request running already; this one starts when one of them ends."


def waits(go: Path) -> str:
    """Code that ends once the test has said so."""
    return f"```\nimport os, time; print('it ' + 'waits')\nwhile not os.path.exists({str(go)!r}): time.sleep(0.01)\n```"


async def test_in_slack_who_waits_is_told_and_answered_later(tmp_path: Path, sandboxes: SandboxService) -> None:
    async with slack_server() as server, slack_bot(tmp_path, sandboxes, server, running_per_person=1) as chat:
        first = await chat.people.say(f"{SLACK_MENTION} {waits(tmp_path / 'go')}")
        await chat.people.sees(first, "it waits")
        second = await chat.people.say(f"{SLACK_MENTION} ```print('ran', 2)```")
        told = await server.until(lambda: server.api.whispers and server.api.whispers[-1])
        (tmp_path / "go").touch()

        await chat.people.sees(second, "ran 2")
    assert WORDS in told["text"]


async def test_in_discord_who_waits_is_told_and_answered_later(tmp_path: Path, sandboxes: SandboxService) -> None:
    async with discord_server() as server, discord_bot(tmp_path, sandboxes, server, running_per_person=1) as chat:
        server.limited = False
        first = await chat.people.say(f"{DISCORD_MENTION} {waits(tmp_path / 'go')}")
        await chat.people.sees(first, "it waits")
        second = await chat.people.say(f"{DISCORD_MENTION} ```print('ran', 2)```")
        await chat.people.sees(GENERAL, WORDS, timeout=10)  # its thread is made when it starts
        (tmp_path / "go").touch()

        await chat.people.sees(second, "ran 2")
