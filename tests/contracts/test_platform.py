"""What every platform does, the one in memory too. Known exception: a terminal cannot find what it printed."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from adapters.terminal import Screen, TerminalPlatform
from adapters.web import make_platform
from bot.artifacts import BlobArtifacts
from bot.front import make_front
from bot.intake import IntakeLimits
from bot.memory_queue import MemoryTurnQueue
from bot.model import Attachment, IncomingMessage, Person, Printed, Reply, Text, ThreadKey
from bot.ports import Platform
from bot.secrets import Redactor
from bot.stops import Stops
from bot.store import SqlHistory
from sandbox.service import SandboxService
from tests.doubles.bot import some_options
from tests.doubles.database import new_database
from tests.doubles.discord_bot import discord_bot
from tests.doubles.discord_guild import GENERAL
from tests.doubles.discord_server import discord_server
from tests.doubles.platform import MemoryPlatform
from tests.doubles.process_engine import ProcessEngine
from tests.doubles.slack_bot import slack_bot
from tests.doubles.slack_server import slack_server

NOW = datetime(2026, 11, 23, tzinfo=UTC)
THREAD = "1700000000.000100"
CANNOT_FIND = {"terminal"}


@pytest.fixture
def ids() -> dict[str, str]:
    """How a platform names the channel and the thread."""
    return {}


@pytest.fixture(params=["memory", "terminal", "web", "slack", "discord"])
async def platform(
    request: pytest.FixtureRequest, tmp_path: Path, process_engine: ProcessEngine, ids: dict[str, str]
) -> AsyncIterator[Platform]:
    if request.param == "memory":
        yield MemoryPlatform()
    elif request.param == "terminal":
        yield TerminalPlatform(Screen(io.StringIO(), lambda: 80))
    elif request.param == "slack":
        async with slack_server() as server, slack_bot(tmp_path, SandboxService(process_engine), server) as bot:
            bot.server.api.messages["general"].append({"ts": THREAD, "user": "UADA", "text": "hello"})
            yield bot.parts.platforms["slack"]
    elif request.param == "discord":
        async with discord_server() as server, discord_bot(tmp_path, SandboxService(process_engine), server) as chat:
            server.limited = False
            ids["general"], ids[THREAD] = GENERAL, await chat.people.say("hello")
            yield chat.parts.platforms["discord"]
    else:
        database = await new_database(tmp_path / "web.sqlite")
        limits = IntakeLimits(message_chars=100, upload_bytes=100, turns_per_person=1, running_per_person=1)
        service = SandboxService(process_engine)
        front = make_front(database, MemoryTurnQueue(), service, Stops(), some_options(), limits, lambda: NOW)
        artifacts = BlobArtifacts(database, tmp_path / "blobs", lambda: NOW, Redactor([]))
        yield make_platform(front.intake, front.commands, SqlHistory(database), artifacts)
        await database.aclose()


def message(platform: Platform, ids: dict[str, str]) -> IncomingMessage:
    channel, thread = ids.get("general", "general"), ids.get(THREAD, THREAD)
    key = ThreadKey(platform=platform.name, workspace="local", channel=channel, thread=thread)
    return IncomingMessage(
        key=key, message_id=thread, author=Person(id="p", name="Ada"), text="hello", sent_at=NOW, for_us=True
    )


def reply(text: str, *, final: bool) -> Reply:
    return Reply(turn_id="t", part=0, blocks=(Text(markdown=text), Printed(text="out")), final=final)


async def test_a_reply_is_published_grows_and_becomes_final(platform: Platform, ids: dict[str, str]) -> None:
    key = message(platform, ids).key

    message_id = await platform.publish(key, reply("a", final=False))
    await platform.update(key, message_id, reply("a b", final=False))
    await platform.update(key, message_id, reply("a b c", final=True))

    assert message_id


async def test_a_published_reply_is_found_by_its_key(platform: Platform, ids: dict[str, str]) -> None:
    key = message(platform, ids).key
    message_id = await platform.publish(key, reply("a", final=True))

    found = await platform.find(key, reply("a", final=True))

    assert found == (None if platform.name in CANNOT_FIND else message_id)


async def test_every_sign_can_follow_every_other(platform: Platform, ids: dict[str, str]) -> None:
    for first in ("seen", "queued", "working", "done", "failed", "stopped"):
        for second in ("seen", "queued", "working", "done", "failed", "stopped"):
            await platform.mark(message(platform, ids), first)
            await platform.mark(message(platform, ids), second)


async def test_an_attachment_that_is_not_there_is_a_lookup_error(platform: Platform, ids: dict[str, str]) -> None:
    with pytest.raises(LookupError):
        await platform.fetch(Attachment(name="a", size=1, source="none"))


def test_a_platform_says_how_fast_it_may_be_edited_and_whether_it_outlives_us(
    platform: Platform, ids: dict[str, str]
) -> None:
    assert platform.edit_seconds > 0
    assert isinstance(platform.outlives_us, bool)


async def test_what_was_said_before_a_message_is_asked_of_the_platform(platform: Platform, ids: dict[str, str]) -> None:
    assert await platform.earlier(message(platform, ids), 10) == []
    assert isinstance(platform.keeps_history, bool)
