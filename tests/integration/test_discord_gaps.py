"""Connections that break, and what was said meanwhile: each message is answered, and once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import discord
import pytest
import pytest_asyncio

import adapters.discord.client
import adapters.discord.cursor
from adapters.discord.client import make_client, run_forever, use_addresses
from adapters.discord.config import PORTAL
from adapters.discord.inbound import moment, snowflake
from bot.errors import ConfigurationError
from sandbox.service import SandboxService
from tests.doubles.discord_bot import DiscordBot, config, discord_bot
from tests.doubles.discord_people import MENTION, People
from tests.doubles.discord_server import DiscordServer, discord_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

CODE = f"{MENTION} ```print('ran', 6 * 7)```"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapters.discord.client, "FIRST_BACKOFF_SECONDS", 0.05)
    monkeypatch.setattr(adapters.discord.client, "BACKOFF_MOST_SECONDS", 0.2)
    monkeypatch.setattr(adapters.discord.cursor, "CURSOR_SECONDS", 0.05)
    monkeypatch.setattr(adapters.discord.cursor, "AGAIN_SECONDS", 0.3)


@pytest_asyncio.fixture(loop_scope="module")
async def server() -> AsyncIterator[DiscordServer]:
    async with discord_server() as running:
        running.limited = False
        yield running
        assert running.violations == []


@pytest_asyncio.fixture(loop_scope="module")
async def bot(server: DiscordServer, tmp_path: Path, sandboxes: SandboxService) -> AsyncIterator[DiscordBot]:
    async with discord_bot(tmp_path, sandboxes, server) as running:
        yield running


def answers(people: People, thread: str) -> int:
    return people.shown(thread).count("ran 42")


def has_sandbox(bot: DiscordBot, thread: str) -> bool:
    entries = bot.parts.sandboxes.entries
    return any(name.endswith(f"/{thread}") and entry.has_container for name, entry in entries.items())


async def answered_once(bot: DiscordBot, asked: str) -> None:
    assert await bot.people.ended(asked) == "✅"
    await asyncio.sleep(0.2)  # for what would come a second time
    assert answers(bot.people, asked) == 1


@pytest.mark.parametrize("how", ["reconnect", "drop", "resumable", "not resumable", "poison"])
async def test_after_a_connection_that_ends_messages_are_answered_once(bot: DiscordBot, how: str) -> None:
    match how:
        case "reconnect":
            await bot.server.reconnect()
        case "drop":
            await bot.server.drop()
        case "poison":
            await bot.server.poison()
        case _:
            await bot.server.invalidate(how == "resumable")

    asked = bot.people.store(CODE) if how == "not resumable" else await bot.people.say(CODE)

    await answered_once(bot, asked)


async def test_what_was_said_while_a_session_was_lost_is_answered_once(bot: DiscordBot) -> None:
    first = await bot.people.say(CODE)
    await bot.people.ended(first)
    bot.server.lose_sessions()
    bot.server.refuse_connects = 3
    await bot.server.drop()

    asked = bot.people.store(CODE)
    followed = bot.people.store("```print('ran', 6 * 7)```", thread=first)
    unasked = bot.people.store("people among themselves", channel="random")

    await answered_once(bot, asked)
    assert await bot.people.ended(followed) == "✅"
    assert answers(bot.people, first) == 2
    assert bot.people.reactions(unasked) == set()


async def test_a_message_that_is_told_twice_is_answered_once(bot: DiscordBot) -> None:
    bot.server.duplicate = True
    asked = await bot.people.say(CODE)
    bot.server.duplicate = False

    await answered_once(bot, asked)


async def test_the_first_connection_may_fail(server: DiscordServer, tmp_path: Path, sandboxes: SandboxService) -> None:
    server.refuse_connects = 2
    async with discord_bot(tmp_path, sandboxes, server) as bot:
        asked = await bot.people.say(CODE)
        await answered_once(bot, asked)


async def test_a_first_start_answers_nothing_of_before(
    server: DiscordServer, tmp_path: Path, sandboxes: SandboxService
) -> None:
    old = People(server).store(CODE)
    async with discord_bot(tmp_path, sandboxes, server) as bot:
        asked = await bot.people.say(CODE)
        await answered_once(bot, asked)

        assert bot.people.reactions(old) == set()


async def test_what_was_said_while_no_process_ran_is_answered_by_the_next(
    server: DiscordServer, tmp_path: Path, sandboxes: SandboxService
) -> None:
    people = People(server)
    async with discord_bot(tmp_path, sandboxes, server) as bot:
        done = await bot.people.say(CODE)
        await answered_once(bot, done)
        direct = await bot.people.say("hello", channel="dm")
        await bot.people.ended(direct)
        await asyncio.sleep(0.2)
    asked = people.store(CODE, channel="random")
    elsewhere = people.store("```print('here', 1)```", channel="dm")
    nothing = people.store("stop", thread=done)

    async with discord_bot(tmp_path, sandboxes, server) as bot:
        await answered_once(bot, asked)
        assert await bot.people.ended(elsewhere) == "✅"
        await bot.people.sees(done, "Nothing is running")
        assert answers(bot.people, done) == 1
        assert bot.people.reactions(nothing) == set()


async def test_a_message_whose_claim_fails_is_read_again(bot: DiscordBot, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = iter([OSError("the database is away")] * 2)
    claim = bot.parts.front.intake.claim

    async def failing(*arguments: object) -> object:
        error = next(failures, None)
        if error is not None:
            raise error
        return await claim(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(bot.parts.front.intake, "claim", failing)
    asked = await bot.people.say(CODE)

    await answered_once(bot, asked)


@pytest.mark.parametrize("what", ["server", "channel"])
async def test_sandboxes_go_with_their_server_or_channel(bot: DiscordBot, what: str) -> None:
    asked = await bot.people.say(CODE, channel="lab")
    await bot.people.ended(asked)
    assert has_sandbox(bot, asked)

    if what == "server":
        bot.people.remove_bot()
    else:
        bot.people.delete_channel("lab")

    await bot.server.until(lambda: not has_sandbox(bot, asked))


async def test_a_server_that_has_us_again_is_answered_in_its_old_threads(bot: DiscordBot) -> None:
    asked = await bot.people.say(CODE)
    await bot.people.ended(asked)
    bot.people.remove_bot()
    await bot.server.until(lambda: not has_sandbox(bot, asked))
    bot.people.add_bot()

    again = await bot.people.say(CODE, thread=asked)

    assert await bot.people.ended(again) == "✅"
    assert answers(bot.people, asked) == 2


async def test_a_wrong_token_is_said_at_once(server: DiscordServer, tmp_path: Path, sandboxes: SandboxService) -> None:
    with pytest.raises(ConfigurationError, match="DISCORD_BOT_TOKEN"):
        async with discord_bot(tmp_path, sandboxes, server, settings={"token": "wrong.token.here"}):
            pass


async def test_an_unreachable_discord_is_said_at_once(tmp_path: Path, sandboxes: SandboxService) -> None:
    async with discord_server() as server:
        nobody = {"api_url": "http://127.0.0.1:9/api/v10"}
        with pytest.raises(ConfigurationError, match="cannot be reached"):
            async with discord_bot(tmp_path, sandboxes, server, settings=nobody):
                pass


async def test_an_intent_that_is_not_switched_on_is_named_with_its_page(server: DiscordServer) -> None:
    server.api.message_content = False
    use_addresses(config(server))

    def make() -> discord.Client:
        return make_client(config(server), None, reads_messages=True)  # type: ignore[arg-type]  # nothing is heard

    async def set_up(client: discord.Client) -> None:
        return None

    with pytest.raises(ConfigurationError, match=f"Message Content Intent: {PORTAL}"):
        async with asyncio.timeout(10):
            await run_forever(config(server), make, set_up)


async def test_an_id_tells_its_time() -> None:
    at = datetime(2026, 11, 23, 12, 0, 0, 123_000, UTC)

    assert moment(snowflake(at)) == at
