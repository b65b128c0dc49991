"""What every platform does, the one in memory too. Known exception: a terminal cannot find what it printed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from adapters.terminal import TerminalPlatform
from adapters.web import make_platform
from bot.artifacts import BlobArtifacts
from bot.commands import Commands
from bot.intake import Intake, IntakeLimits
from bot.memory_queue import MemoryTurnQueue
from bot.model import Attachment, IncomingMessage, Person, Printed, Reply, Text, ThreadKey
from bot.ports import Platform
from bot.secrets import Redactor
from bot.stops import Stops
from bot.store import SqlHistory, SqlInbox
from sandbox.service import SandboxService
from tests.doubles.database import new_database
from tests.doubles.platform import MemoryPlatform
from tests.doubles.process_engine import ProcessEngine

NOW = datetime(2026, 11, 23, tzinfo=UTC)
CANNOT_FIND = {"terminal"}


@pytest.fixture(params=["memory", "terminal", "web"])
async def platform(
    request: pytest.FixtureRequest, tmp_path: Path, process_engine: ProcessEngine
) -> AsyncIterator[Platform]:
    if request.param == "memory":
        yield MemoryPlatform()
    elif request.param == "terminal":
        yield TerminalPlatform(lambda line: None)
    else:
        database = await new_database(tmp_path / "web.sqlite")
        commands = Commands(Stops(), SandboxService(process_engine))
        limits = IntakeLimits(message_chars=100, upload_bytes=100, turns_per_person=1)
        intake = Intake(SqlInbox(database, lambda: NOW), MemoryTurnQueue(), commands, limits)
        artifacts = BlobArtifacts(database, tmp_path / "blobs", lambda: NOW, Redactor([]))
        yield make_platform(intake, commands, SqlHistory(database), artifacts)
        await database.aclose()


def message(platform: Platform) -> IncomingMessage:
    key = ThreadKey(platform=platform.name, workspace="local", channel="general", thread="0" * 12)
    return IncomingMessage(
        key=key, message_id="1", author=Person(id="p", name="Ada"), text="hello", sent_at=NOW, for_us=True
    )


def reply(text: str, *, final: bool) -> Reply:
    return Reply(turn_id="t", part=0, blocks=(Text(markdown=text), Printed(text="out")), final=final)


async def test_a_reply_is_published_grows_and_becomes_final(platform: Platform) -> None:
    key = message(platform).key

    message_id = await platform.publish(key, reply("a", final=False))
    await platform.update(key, message_id, reply("a b", final=False))
    await platform.update(key, message_id, reply("a b c", final=True))

    assert message_id


async def test_a_published_reply_is_found_by_its_key(platform: Platform) -> None:
    key = message(platform).key
    message_id = await platform.publish(key, reply("a", final=True))

    found = await platform.find(key, reply("a", final=True))

    assert found == (None if platform.name in CANNOT_FIND else message_id)


async def test_every_sign_can_follow_every_other(platform: Platform) -> None:
    for first in ("seen", "working", "done", "failed", "stopped"):
        for second in ("seen", "working", "done", "failed", "stopped"):
            await platform.mark(message(platform), first)
            await platform.mark(message(platform), second)


async def test_an_attachment_that_is_not_there_is_a_lookup_error(platform: Platform) -> None:
    with pytest.raises(LookupError):
        await platform.fetch(Attachment(name="a", size=1, source="none"))


def test_a_platform_says_how_fast_it_may_be_edited_and_whether_it_outlives_us(platform: Platform) -> None:
    assert platform.edit_seconds > 0
    assert isinstance(platform.outlives_us, bool)
