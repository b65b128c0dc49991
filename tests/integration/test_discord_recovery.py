"""What a restart, a database that fails or two things at once must not cost: each of these was wrong once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import adapters.discord.cursor
from adapters.discord.cursor import Cursor
from adapters.discord.inbound import snowflake
from adapters.discord.signs import Signs
from bot.model import IncomingMessage, Person, ThreadKey
from bot.store import SqlMemos
from sandbox.service import SandboxService
from tests.doubles.discord_bot import discord_bot
from tests.doubles.discord_people import MENTION, People
from tests.doubles.discord_server import discord_server

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_re_run_after_a_restart_leaves_the_first_answer(tmp_path: Path, sandboxes: SandboxService) -> None:
    code = f"{MENTION} ```import time; time.sleep(1); print('ran', 6 * 7)```"
    async with discord_server() as server:
        server.limited = False
        people = People(server)
        for start in range(2):
            async with discord_bot(tmp_path, sandboxes, server) as bot:
                bot.discord.platform.hold_seconds = 5
                if start == 0:
                    asked = await people.say(code)
                    await people.ended(asked)
                else:
                    await people.press("tb:rerun")
                    await server.until(lambda: people.shown(asked).count("ran 42") == 2)  # noqa: B023


async def test_a_token_that_is_taken_back_is_logged_and_tried_again(
    tmp_path: Path, sandboxes: SandboxService, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("adapters.discord.server.REFUSED_AGAIN_SECONDS", 0.2)
    async with discord_server() as server, discord_bot(tmp_path, sandboxes, server) as bot:
        for link in list(server.gateway.links):
            link.close(4004)
        asked = await bot.people.say(f"{MENTION} ```print(1)```")
        assert await bot.people.ended(asked) == "✅"

    assert "DISCORD_BOT_TOKEN" in capsys.readouterr().out


async def test_a_database_that_fails_ends_nothing(
    tmp_path: Path, sandboxes: SandboxService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapters.discord.cursor, "CURSOR_SECONDS", 0.02)

    async def failing(self: SqlMemos, platform: str, name: str, value: str) -> None:
        raise OSError("disk full")

    async with discord_server() as server, discord_bot(tmp_path, sandboxes, server) as bot:
        monkeypatch.setattr(SqlMemos, "put", failing)
        await bot.people.ended(await bot.people.say(f"{MENTION} ```print(1)```"))
        await asyncio.sleep(0.1)
        await bot.people.ended(await bot.people.say(f"{MENTION} ```print(1)```"))


async def test_a_gap_that_begins_while_another_is_read_is_read_too() -> None:
    class Memos:
        async def get(self, *names: str) -> None:
            return None

    seen: list[int] = []
    now = datetime.now(UTC)
    missed, later = (snowflake(now + timedelta(seconds=seconds)) for seconds in (3, 5))
    reading, go, rounds = asyncio.Event(), asyncio.Event(), iter(range(9))
    cursor = Cursor(None, Memos(), None, lambda: datetime.now(UTC))  # type: ignore[arg-type]
    await cursor.load()

    async def read_all(client: object, since: int) -> None:
        if next(rounds) == 0:
            reading.set()
            await go.wait()
        for message in (later,) if not seen else (missed, later):
            if message > since:
                with cursor.at(message):
                    seen.append(message)

    cursor._read_all = read_all  # type: ignore[method-assign]
    task = asyncio.ensure_future(cursor.catch_up())
    cursor.wanted(object())  # type: ignore[arg-type]
    await reading.wait()
    cursor.lost()
    go.set()
    await asyncio.sleep(0.05)
    cursor.wanted(object())  # type: ignore[arg-type]
    await asyncio.sleep(0.05)
    task.cancel()

    assert missed in seen


async def test_a_sign_that_is_slow_does_not_take_the_last_one_away() -> None:
    shown: set[str] = set()

    class Calls:
        async def react(self, channel: int, message: int, emoji: str, *, on: bool = True) -> None:
            if on and emoji == "⏳":
                await asyncio.sleep(0.1)
            (shown.add if on else shown.discard)(emoji)

    signs = Signs(Calls(), None)  # type: ignore[arg-type]
    task = asyncio.ensure_future(signs.run())
    key = ThreadKey(platform="discord", workspace="@me", channel="5", thread="5")
    message = IncomingMessage(
        key=key, message_id="7", author=Person(id="1", name="Ada"), text="", sent_at=datetime.now(UTC), for_us=True
    )
    signs.want(message, "queued")
    await asyncio.sleep(0.01)
    signs.want(message, "done")
    await asyncio.sleep(0.3)
    task.cancel()

    assert shown == {"✅"}
