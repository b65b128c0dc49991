"""Who is answered in Discord, and where: the real adapter and discord.py in a simulated Discord."""

from __future__ import annotations

from pathlib import Path

import discord
import pytest
from simcord import MemberActor
from simcord.backend.models import AllowedMentions
from simcord.enums import MessageType

from sandbox.service import SandboxService
from tests.doubles.simulated_discord import Simulated, block, simulated_discord, until

# one loop for the module: its tests share the sandboxes of tests/integration/conftest.py
pytestmark = pytest.mark.asyncio(loop_scope="module")

SET = "sandbox config set"
CODE = block("print(6 * 7)")


async def configured(here: Simulated, name: str, value: str) -> str:
    return here.told(await here.root.slash(here.channel, SET, name=name, value=value))


async def refusal(here: Simulated, who: MemberActor, text: str = CODE) -> str:
    """What somebody is told who asks by mention and for whom nothing is run."""
    before = len(here.ours(here.channel.id))
    asked = await who.send(here.channel, f"{here.us.mention} {text}")
    told = await until(lambda: here.ours(here.channel.id)[before:])
    assert [one.reference.message_id for one in told if one.reference is not None] == [asked.id]
    assert asked.id not in here.env.backend.channels  # no thread
    assert here.signs(asked) == set()
    return told[0].content


async def answered(here: Simulated, who: MemberActor) -> str:
    asked = await who.send(here.channel, f"{here.us.mention} {CODE}")
    assert await here.ended(asked) == "✅"
    return here.shown(asked.id)


# ---- who


async def test_a_role_on_the_allow_list_lets_its_members_in_and_admins_are_always_let_in(simulated: Simulated) -> None:
    role = simulated.guild.create_role("Coders")
    coder = simulated.guild.add_member(simulated.env.create_user("Cleo"), roles=[role])

    done = await configured(simulated, "allow", role.mention)

    assert done == f"allow is now {role.id} for the channel."
    assert "not on the list of people who may ask me here" in await refusal(simulated, simulated.ada)
    assert "42" in await answered(simulated, coder)
    assert "42" in await answered(simulated, simulated.root)


async def test_a_role_on_the_deny_list_keeps_its_members_out(simulated: Simulated) -> None:
    role = simulated.guild.create_role("Noisy")
    noisy = simulated.guild.add_member(simulated.env.create_user("Ned"), roles=[role])

    await configured(simulated, "deny", f"{role.mention} {simulated.bob.mention}")

    assert "on the list `deny`" in await refusal(simulated, noisy)
    assert "on the list `deny`" in await refusal(simulated, simulated.bob)
    assert "42" in await answered(simulated, simulated.ada)


async def test_who_may_not_ask_is_told_so_by_a_command_too_and_nothing_is_said_in_the_channel(
    simulated: Simulated,
) -> None:
    said = await simulated.ada.send(simulated.channel, CODE)
    await configured(simulated, "deny", simulated.bob.mention)

    asked = simulated.told(await simulated.bob.slash(simulated.channel, "ask", text="@everyone look here"))
    menu = simulated.told(await simulated.bob.context_menu(simulated.channel, "Run this code", said))

    assert "on the list `deny`" in asked
    assert "on the list `deny`" in menu
    assert simulated.ours(simulated.channel.id) == []


async def test_bots_webhooks_and_what_discord_itself_says_are_ignored(simulated: Simulated) -> None:
    robot = simulated.guild.add_member(simulated.env.create_user("Robot", bot=True))
    hook = simulated.guild.create_webhook(simulated.channel, "Builds")
    text = f"{simulated.us.mention} {CODE}"

    said = [await robot.send(simulated.channel, text), await hook.send(text)]
    said.append(simulated.guild.create_system_message(simulated.channel, MessageType.NEW_MEMBER, author=simulated.ada))
    await simulated.env.settle()
    asked = await simulated.run("print('people')")

    assert simulated.ours(simulated.channel.id) == []
    assert [simulated.signs(one) for one in said] == [set(), set(), set()]
    assert [thread.id for thread in simulated.channel.threads] == [asked.id]


async def test_answers_off_holds_in_one_channel_and_commands_go_on_there(simulated: Simulated) -> None:
    elsewhere = simulated.guild.create_text_channel("elsewhere")

    await configured(simulated, "answers", "off")
    refused = await refusal(simulated, simulated.ada)
    status = simulated.told(await simulated.ada.slash(simulated.channel, "sandbox status"))
    asked = await simulated.run("print(6 * 7)", elsewhere)

    assert refused.startswith("I do not answer here.")
    assert status.startswith("I am here.")
    assert "42" in simulated.shown(asked.id)


async def test_an_admin_configures_by_mention_and_nobody_else_does(simulated: Simulated) -> None:
    words = f"{simulated.us.mention} config set channel timeout 5"

    await simulated.ada.send(simulated.channel, words)
    await simulated.root.send(simulated.channel, words)
    admin = simulated.guild.create_role("Admins", permissions=discord.Permissions(administrator=True))
    other = simulated.guild.add_member(simulated.env.create_user("Olga"), roles=[admin])
    await other.send(simulated.channel, words)

    assert [one.content for one in simulated.ours(simulated.channel.id)] == [
        "Only an admin may set timeout for the channel.",
        "timeout is now 5 for the channel.",
        "timeout is now 5 for the channel.",
    ]
    assert simulated.channel.threads == []


async def test_where_we_were_forbidden_to_write_a_command_works_as_soon_as_we_may(simulated: Simulated) -> None:
    silent = discord.PermissionOverwrite(send_messages=False, create_public_threads=False)
    quiet = simulated.guild.create_text_channel("quiet", overwrites={simulated.us: silent})
    await simulated.ada.send(quiet, f"{simulated.us.mention} config show")  # we cannot answer that
    simulated.env.backend.get_channel(quiet.id).overwrites.clear()

    told = simulated.told(await simulated.ada.slash(quiet, "ask", text=CODE))

    assert told == "I am at it."
    assert await simulated.ended(simulated.ours(quiet.id)[0]) == "✅"


# ---- where


async def test_answer_in_channel_answers_there_and_an_answer_to_the_answer_goes_on(simulated: Simulated) -> None:
    await configured(simulated, "answer_in", "channel")

    first = await simulated.run("x = 21\nprint('kept')")
    answer = simulated.ours(simulated.channel.id)[-1]
    second = await simulated.ada.send(simulated.channel, block("print(x * 2)"), reply_to=answer)
    sign = await simulated.ended(second)

    assert sign == "✅"
    assert simulated.channel.threads == []
    assert answer.reference is not None
    assert answer.reference.message_id == first.id
    assert "42" in simulated.shown(simulated.channel.id)


async def test_where_we_may_make_no_threads_we_answer_in_the_channel(simulated: Simulated) -> None:
    no_threads = discord.PermissionOverwrite(create_public_threads=False)
    flat = simulated.guild.create_text_channel("flat", overwrites={simulated.us: no_threads})

    asked = await simulated.run("print(6 * 7)", flat)

    assert flat.threads == []
    assert "42" in simulated.shown(flat.id)
    assert simulated.ours(flat.id)[-1].reference.message_id == asked.id  # type: ignore[union-attr]


async def test_where_we_may_not_write_a_command_says_so(simulated: Simulated) -> None:
    silent = discord.PermissionOverwrite(send_messages=False)
    quiet = simulated.guild.create_text_channel("quiet", overwrites={simulated.us: silent})

    told = simulated.told(await simulated.ada.slash(quiet, "ask", text=CODE))

    assert told.startswith("I may not write in this channel.")
    assert simulated.ours(quiet.id) == []


# ---- what the operator switches off


async def test_without_message_content_only_what_is_meant_for_us_is_answered(
    tmp_path: Path, sandboxes: SandboxService
) -> None:
    async with simulated_discord(tmp_path, sandboxes, message_content="off") as here:
        asked = await here.run("x = 21\nprint('kept')")
        thread = here.place(asked.id)

        aside = await here.ada.send(thread, block("print('over' + 'heard')"))
        reply = await here.ada.send(
            thread, f"{here.us.mention} {block('print(x * 2)')}", reply_to=here.ours(asked.id)[-1]
        )
        assert await here.ended(reply) == "✅"
        told = here.told(await here.ada.slash(thread, "ask", text=block("print(x * 3)")))
        await until(lambda: "63" in here.shown(thread.id))
        direct = await here.ada.send_dm(block("print(6 * 9)"))
        assert await here.ended(direct) == "✅"

        assert not here.env.bot.intents.message_content
        assert "42" in here.shown(thread.id)
        assert told == "I am at it."
        assert "overheard" not in here.shown(thread.id)
        assert here.signs(aside) == set()
        assert "54" in here.shown(direct.channel.id)


async def test_without_message_content_an_answer_to_us_with_a_ping_is_enough(
    tmp_path: Path, sandboxes: SandboxService
) -> None:
    async with simulated_discord(tmp_path, sandboxes, message_content="off") as here:
        asked = await here.run("x = 21\nprint('kept')")

        reply = await here.ada.send(here.place(asked.id), block("print(x * 2)"), reply_to=here.ours(asked.id)[-1])

        assert await here.ended(reply) == "✅"
        assert "42" in here.shown(asked.id)


async def test_without_message_content_an_answer_to_us_without_a_ping_is_told_what_is_missing(
    tmp_path: Path, sandboxes: SandboxService
) -> None:
    async with simulated_discord(tmp_path, sandboxes, message_content="off") as here:
        asked = await here.run("x = 21\nprint('kept')")
        answer = here.ours(asked.id)[-1]
        reference = {"channel_id": str(asked.id), "message_id": str(answer.id)}
        silent = AllowedMentions(replied_user=False)

        here.env.backend.create_message(
            asked.id, here.ada.id, block("print(x * 2)"), reference=reference, allowed_mentions=silent
        )
        await here.env.settle()

        assert here.ours(asked.id)[-1].content.startswith("Discord does not show me what you wrote.")


async def test_direct_messages_that_are_switched_off_are_ignored_and_commands_there_run_nothing(
    tmp_path: Path, sandboxes: SandboxService
) -> None:
    async with simulated_discord(tmp_path, sandboxes, direct_messages=False) as here:
        said = await here.ada.send_dm(CODE)
        asked = await here.run("print('in the server')")

        assert here.ours(said.channel.id) == []
        assert here.signs(said) == set()
        assert "in the server" in here.shown(asked.id)
        assert here.ada.user.available_commands() == ()


async def test_direct_messages_that_were_switched_off_leave_no_way_in_by_what_was_there_before(
    tmp_path: Path, sandboxes: SandboxService
) -> None:
    async with simulated_discord(tmp_path, sandboxes) as here:
        said = await here.ada.send_dm(CODE)
        assert await here.ended(said) == "✅"
        before, direct = here.ours(said.channel.id), said.channel.id

        await here.restart(direct_messages=False)
        pressed = await here.ada.user.click(here.ours(direct)[-1], label="Re-run")
        # Discord's apps show commands for a while that no longer are
        here.env.backend.commands[None][("ask", 1)]["contexts"] = [0, 1]
        asked = await here.ada.user.slash("ask", text=CODE)

        assert here.told(pressed) == here.told(asked) == "I take no direct messages. Ask me in a server."
        assert [one.id for one in here.ours(direct)] == [one.id for one in before]
