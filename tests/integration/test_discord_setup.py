"""What an operator meets: the invitation, and what doctor says of the token, the intent and each server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.discord.check import PERMISSIONS, check, invite
from bot.errors import ConfigurationError
from sandbox.service import SandboxService
from tests.doubles.discord_bot import config, discord_bot
from tests.doubles.discord_guild import APPLICATION
from tests.doubles.discord_people import MENTION
from tests.doubles.discord_server import DiscordServer, discord_server
from tests.doubles.process_engine import ProcessEngine


@pytest.fixture
async def chat() -> AsyncIterator[DiscordServer]:
    async with discord_server() as running:
        yield running


async def test_the_invitation_asks_for_what_is_needed_and_no_more(chat: DiscordServer) -> None:
    link = await invite(config(chat))

    assert link == (
        f"https://discord.com/oauth2/authorize?client_id={APPLICATION}"
        "&scope=bot+applications.commands&permissions=309237763136"
    )
    assert PERMISSIONS.value == 309_237_763_136


async def test_the_invitation_says_what_to_switch_on_first(chat: DiscordServer) -> None:
    chat.api.message_content = False

    assert f"applications/{APPLICATION}/bot" in (await invite(config(chat))).splitlines()[1]
    assert len((await invite(config(chat, message_content="off"))).splitlines()) == 1


async def test_doctor_says_that_all_is_well(chat: DiscordServer) -> None:
    findings = await check(config(chat))

    assert [(finding.level, finding.what) for finding in findings] == [
        ("ok", "Discord knows the bot as threadbox"),
        ("ok", "The bot may do what it needs in 1 Discord servers"),
    ]


async def test_doctor_names_the_intent_and_where_to_switch_it_on(chat: DiscordServer) -> None:
    chat.api.message_content = False

    findings = await check(config(chat))

    assert findings[1].level == "warning" and "Message Content Intent" in findings[1].what
    assert f"applications/{APPLICATION}/bot" in findings[1].mend
    assert all(finding.level == "ok" for finding in await check(config(chat, message_content="off")))


async def test_doctor_names_the_permissions_that_a_server_withholds(chat: DiscordServer) -> None:
    role = chat.api.guild.roles[next(iter(chat.api.guild.roles))]
    for role in chat.api.guild.roles.values():
        role["permissions"] = str(int(role["permissions"]) & ~(1 << 15) & ~(1 << 3))

    findings = await check(config(chat))

    assert findings[-1].level == "warning" and "attach_files" in findings[-1].what


async def test_doctor_gives_the_link_to_a_bot_that_is_in_no_server(chat: DiscordServer) -> None:
    chat.api.guild.left = True

    findings = await check(config(chat))

    assert findings[-1].what == "The bot is in no Discord server yet"
    assert "permissions=309237763136" in findings[-1].mend


async def test_doctor_tells_a_wrong_token_from_an_unreachable_discord(chat: DiscordServer) -> None:
    wrong = await check(config(chat, token="wrong.token.here"))
    away = await check(config(chat, api_url="http://127.0.0.1:9/api/v10"))

    assert (wrong[0].level, wrong[0].what) == ("error", "Discord refused DISCORD_BOT_TOKEN")
    assert away[0].what.startswith("Discord cannot be reached")


async def test_without_the_intent_the_start_says_what_still_works(
    chat: DiscordServer, tmp_path: Path, process_engine: ProcessEngine
) -> None:
    chat.api.message_content = False
    chat.limited = False
    async with discord_bot(tmp_path, SandboxService(process_engine), chat) as bot:
        root = await bot.people.say(f"{MENTION} ```print('by mention')```")
        await bot.people.ended(root)
        unread = await bot.people.say("```print('not read')```", thread=root)
        again = await bot.people.say(f"{MENTION} ```print('again')```", thread=root)
        await bot.people.ended(again)

    assert "I answer mentions, replies to me and /ask" in bot.words
    assert bot.people.reactions(unread) == set()
    assert "by mention" in bot.people.shown(root) and "again" in bot.people.shown(root)


async def test_commands_are_told_to_discord_once(
    chat: DiscordServer, tmp_path: Path, process_engine: ProcessEngine
) -> None:
    for _ in range(2):
        async with discord_bot(tmp_path, SandboxService(process_engine), chat):
            assert {command["name"] for command in chat.api.commands} == {"sandbox", "ask", "Run this code"}

    assert chat.api.command_syncs == 1


async def test_as_many_connections_as_are_asked_for(
    chat: DiscordServer, tmp_path: Path, process_engine: ProcessEngine
) -> None:
    chat.limited = False
    async with discord_bot(tmp_path, SandboxService(process_engine), chat, settings={"shards": "2"}) as bot:
        asked = await bot.people.say(f"{MENTION} ```print('ran', 1)```")

        assert await bot.people.ended(asked) == "✅"
        assert chat.identifies == 2


def test_a_number_of_connections_that_cannot_be_is_refused(tmp_path: Path) -> None:
    from adapters.discord import DiscordConfig

    with pytest.raises(ConfigurationError):
        DiscordConfig(token="a.b.c", shards="-1")
