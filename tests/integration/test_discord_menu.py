"""Buttons, and what is in the menu of a message: the real adapter and discord.py in a simulated Discord."""

from __future__ import annotations

import discord
import pytest
from simcord import MemberActor

from adapters.discord.components import as_view
from adapters.discord.outbound import Button, card_button
from tests.doubles.simulated_discord import Simulated, block, until

# one loop for the module: its tests share the sandboxes of tests/integration/conftest.py
pytestmark = pytest.mark.asyncio(loop_scope="module")

RUN = "Run this code"


async def menu(here: Simulated, who: MemberActor, said: discord.Message) -> tuple[str, discord.Message | None]:
    """What somebody is told who runs a message, and what is said about it in the channel."""
    before = len(here.ours(said.channel.id))
    told = here.told(await who.context_menu(here.place(said.channel.id), RUN, said))
    return told, next(iter(here.ours(said.channel.id)[before:]), None)


async def posted(here: Simulated, *buttons: Button) -> discord.Message:
    """A message of ours with buttons, as an earlier version of us may have left it."""
    view = as_view(buttons)
    assert view is not None
    message = await here.env.bot.get_partial_messageable(here.channel.id).send("An answer.", view=view)
    return next(one for one in here.ours(here.channel.id) if one.id == message.id)


# ---- the menu of a message


async def test_code_of_ones_own_message_runs_in_a_thread_below_what_we_say_of_it(simulated: Simulated) -> None:
    said = await simulated.ada.send(simulated.channel, f"look:\n{block('print(6 * 7)')}")

    told, announced = await menu(simulated, simulated.ada, said)

    assert told == "It runs."
    assert announced is not None
    assert announced.content == f"▶ {simulated.ada.mention} runs [this code]({said.jump_url})."
    assert await simulated.ended(announced) == "✅"
    assert "\n42\n" in simulated.shown(announced.id)


async def test_code_of_somebody_elses_message_runs_in_the_name_of_who_ran_it(simulated: Simulated) -> None:
    said = await simulated.ada.send(simulated.channel, block("print(6 * 7)"))

    _, announced = await menu(simulated, simulated.bob, said)
    assert announced is not None
    assert await simulated.ended(announced) == "✅"
    thread = simulated.place(announced.id)
    mine = simulated.told(await simulated.bob.slash(thread, "sandbox usage"))
    not_mine = simulated.told(await simulated.ada.slash(thread, "sandbox reset"))

    assert simulated.bob.mention in announced.content
    assert "You, today: 1 requests" in mine
    assert not_mine == "Only the person who asked, or an admin, may reset this sandbox."


async def test_code_of_a_message_in_a_thread_runs_there_with_its_variables(simulated: Simulated) -> None:
    thread = simulated.place((await simulated.run("x = 21")).id)
    said = await simulated.bob.send(thread, f"{simulated.ada.mention} try {block('print(x * 2)')}")

    _, announced = await menu(simulated, simulated.ada, said)

    assert announced is not None
    assert await simulated.ended(announced) == "✅"
    assert "\n42\n" in simulated.shown(thread.id)


async def test_a_message_of_plain_code_runs_as_it_stands(simulated: Simulated) -> None:
    said = await simulated.ada.send(simulated.channel, "print(6 * 7)")

    _, announced = await menu(simulated, simulated.ada, said)

    assert announced is not None
    assert await simulated.ended(announced) == "✅"
    assert "\n42\n" in simulated.shown(announced.id)


async def test_a_message_without_code_is_not_run(simulated: Simulated) -> None:
    hook = simulated.guild.create_webhook(simulated.channel, "Builds")
    said = await hook.send(embed=discord.Embed(title="Build 7", description="passed"))

    told, announced = await menu(simulated, simulated.ada, said)

    assert told == "There is no code in that message."
    assert announced is None


# ---- buttons


async def test_buttons_of_an_earlier_process_still_work(simulated: Simulated) -> None:
    asked = await simulated.run("print(6 * 7)")

    await simulated.restart()
    answer = simulated.ours(asked.id)[-1]
    again = simulated.told(await simulated.ada.click(answer, label="Re-run"))
    await until(lambda: simulated.shown(asked.id).count("\n42\n") == 2)
    form = await simulated.ada.click(answer, label="Run with input…")
    told = simulated.told(await simulated.ada.submit_modal(form, {"text": "hello", "arguments": "a b"}))
    await until(lambda: simulated.shown(asked.id).count("\n42\n") == 3)
    stop = simulated.told(await simulated.ada.click(answer, label="Delete"))

    assert again == "Again, below."
    assert told == "It runs, below."
    assert stop == "Deleted."
    assert answer.id not in {one.id for one in simulated.ours(asked.id)}


async def test_a_conversation_goes_on_after_a_restart_without_a_mention(simulated: Simulated) -> None:
    asked = await simulated.run("x = 21")

    await simulated.restart()
    more = await simulated.ada.send(simulated.place(asked.id), block("print(x * 2)"))

    assert await simulated.ended(more) == "✅"
    assert "\n42\n" in simulated.shown(asked.id)


async def test_only_who_asked_or_an_admin_may_run_again_reset_and_delete(simulated: Simulated) -> None:
    asked = await simulated.run("print(6 * 7)")
    answer = simulated.ours(asked.id)[-1]

    told = {
        label: simulated.told(await simulated.bob.click(answer, label=label)) for label in ("Re-run", "Reset", "Delete")
    }
    admin = simulated.told(await simulated.root.click(answer, label="Reset"))

    assert told == {
        "Re-run": "Only the person who asked, or an admin, may run this again.",
        "Reset": "Only the person who asked, or an admin, may reset this sandbox.",
        "Delete": "Only the person who asked, or an admin, may delete this.",
    }
    assert admin.startswith("Done: this thread's variables and files are gone.")


@pytest.mark.parametrize("action", ["rerun", "retry", "code", "output", "good"])
async def test_a_button_of_an_answer_that_is_no_more_says_so(simulated: Simulated, action: str) -> None:
    left = await posted(simulated, Button(action, "Press", "0123456789abcdef-00000001.2"))

    told = simulated.told(await simulated.ada.click(left, label="Press"))

    assert told == "I no longer have that answer."


async def test_a_button_that_stops_what_is_over_says_that_nothing_runs(simulated: Simulated) -> None:
    left = await posted(simulated, Button("stop", "Stop", "0123456789abcdef-00000001.2"), card_button("1"))

    assert (
        simulated.told(await simulated.ada.click(left, custom_id="tb:stop:0123456789abcdef-00000001.2"))
        == "Nothing is running here."
    )
    assert simulated.told(await simulated.ada.click(left, custom_id="tb:stop:m1")) == "Nothing is running here."


async def test_a_button_that_we_do_not_know_says_so(simulated: Simulated) -> None:
    left = await posted(simulated, Button("dance", "Dance", "1.1"))

    assert simulated.told(await simulated.ada.click(left, label="Dance")) == "I no longer know that button."


async def test_a_form_of_code_that_is_no_more_says_so(simulated: Simulated) -> None:
    left = await posted(simulated, Button("input", "Run with input…", "0123456789abcdef-00000001.2"))

    form = await simulated.ada.click(left, label="Run with input…")
    told = simulated.told(await simulated.ada.submit_modal(form, {"text": "hello"}))

    assert told == "I no longer have that answer."


async def test_thumbs_are_thanked_for_alone(simulated: Simulated) -> None:
    asked = await simulated.run("print(6 * 7)")
    answer = simulated.ours(asked.id)[-1]

    told = simulated.told(await simulated.bob.click(answer, label="👍"))

    assert told == "Thank you, I keep that with the answer."
