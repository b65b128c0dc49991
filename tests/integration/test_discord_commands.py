"""Commands in Discord: the real adapter and discord.py in a simulated Discord, in front of the whole bot."""

from __future__ import annotations

import re

import pytest

from tests.doubles.simulated_discord import Simulated

# one loop for the module: its tests share the sandboxes of tests/integration/conftest.py
pytestmark = pytest.mark.asyncio(loop_scope="module")

SET, UNSET, SHOW, FORM = (f"sandbox config {word}" for word in ("set", "unset", "show", "form"))


async def test_help_is_the_same_in_a_channel_a_thread_and_a_direct_conversation(simulated: Simulated) -> None:
    asked = await simulated.run("x = 1")

    answers = {
        simulated.told(await simulated.ada.slash(simulated.channel, "sandbox help")),
        simulated.told(await simulated.ada.slash(simulated.place(asked.id), "sandbox help")),
        simulated.told(await simulated.ada.user.slash("sandbox help")),
    }

    assert len(answers) == 1
    assert answers.pop().startswith("Mention me with a request")


async def test_status_speaks_of_everything_in_a_channel_and_else_of_the_conversation(simulated: Simulated) -> None:
    asked = await simulated.run("x = 1")

    of_channel = simulated.told(await simulated.ada.slash(simulated.channel, "sandbox status"))
    of_thread = simulated.told(await simulated.ada.slash(simulated.place(asked.id), "sandbox status"))
    of_direct = simulated.told(await simulated.ada.user.slash("sandbox status"))

    assert re.fullmatch(r"I am here\. [1-9]\d* sandboxes are live, 0 requests run\.", of_channel)
    assert of_thread == "Nothing is running here. The sandbox is idle."
    assert of_direct.startswith("Nothing is running here. There is no live sandbox")


async def test_usage_counts_ones_own_requests_and_an_admin_sees_the_sum(simulated: Simulated) -> None:
    asked = await simulated.run("x = 1")

    ada = simulated.told(await simulated.ada.slash(simulated.place(asked.id), "sandbox usage"))
    bob = simulated.told(await simulated.bob.slash(simulated.channel, "sandbox usage"))
    root = simulated.told(await simulated.root.slash(simulated.channel, "sandbox usage"))
    direct = simulated.told(await simulated.ada.user.slash("sandbox usage"))

    assert "You, today: 1 requests" in ada
    assert "You, today: 0 requests" in bob
    assert "Everybody" not in ada + bob
    assert "Everybody, in 30 days: 1 requests" in root
    assert "You, today: 0 requests" in direct  # what is asked in servers is counted there


async def test_sandboxes_lists_ones_own_threads_and_an_admin_sees_all(simulated: Simulated) -> None:
    asked = await simulated.run("treasure = 1")

    ada = simulated.told(await simulated.ada.slash(simulated.channel, "sandbox sandboxes"))
    bob = simulated.told(await simulated.bob.slash(simulated.channel, "sandbox sandboxes"))
    root = simulated.told(await simulated.root.slash(simulated.place(asked.id), "sandbox sandboxes"))
    direct = simulated.told(await simulated.ada.user.slash("sandbox sandboxes"))

    assert str(asked.id) in ada
    assert "treasure = 1" in ada
    assert str(asked.id) in root
    assert bob == direct == "No thread of yours has a live sandbox."


async def test_set_means_the_thread_in_a_thread_and_the_channel_in_a_channel(simulated: Simulated) -> None:
    asked = await simulated.run("x = 1")
    thread = simulated.place(asked.id)

    in_thread = simulated.told(await simulated.ada.slash(thread, SET, name="show_code", value="off"))
    in_channel = simulated.told(await simulated.root.slash(simulated.channel, SET, name="timeout", value="5"))
    shown_there = simulated.told(await simulated.ada.slash(thread, SHOW))
    shown_here = simulated.told(await simulated.ada.slash(simulated.channel, SHOW))
    unset = simulated.told(await simulated.ada.slash(thread, UNSET, name="show_code"))
    again = simulated.told(await simulated.ada.slash(thread, UNSET, name="show_code"))
    shown_after = simulated.told(await simulated.ada.slash(thread, SHOW))

    assert in_thread == "show_code is now off for the thread."
    assert in_channel == "timeout is now 5 for the channel."
    assert "**show_code**: off (thread)" in shown_there
    assert "**timeout**: 5 (channel)" in shown_there
    assert "**show_code**: on (default)" in shown_here
    assert unset == "show_code is no longer set for the thread."
    assert again == "It was not set for the thread."
    assert "**show_code**: on (default)" in shown_after


async def test_an_option_of_a_thread_is_obeyed_there(simulated: Simulated) -> None:
    another = "\n```\n```\npass"  # of two blocks each is shown with its output; one stands in its message
    asked = await simulated.run("print('first')" + another)
    thread = simulated.place(asked.id)
    await simulated.ada.slash(thread, SET, name="show_code", value="off")

    await simulated.run("print('sec' + 'ond')" + another, thread)

    assert "print('first')" in simulated.shown(thread.id)
    assert "print('sec'" not in simulated.shown(thread.id)
    assert "second" in simulated.shown(thread.id)


async def test_a_direct_conversation_is_configured_as_a_thread_by_who_asked_in_it(simulated: Simulated) -> None:
    before = simulated.told(await simulated.ada.user.slash(SET, name="show_code", value="off"))
    asked = await simulated.ada.send_dm("```python\nprint(6 * 7)\n```")
    assert await simulated.ended(asked) == "✅"
    done = simulated.told(await simulated.ada.user.slash(SET, name="show_code", value="off"))
    wide = simulated.told(await simulated.ada.user.slash(SET, name="show_code", value="off", scope="workspace"))

    assert "42" in simulated.shown(asked.channel.id)
    assert before.startswith("Only the person who began this thread")
    assert done == "show_code is now off for the thread."
    assert wide == "Only an admin may set show_code for the workspace."


@pytest.mark.parametrize(("scope", "words"), [("channel", "channel"), ("workspace", "workspace")])
async def test_only_who_manages_the_server_sets_options_beyond_a_thread(
    simulated: Simulated, scope: str, words: str
) -> None:
    options = {"name": "timeout", "value": "5", "scope": scope}

    refused = simulated.told(await simulated.ada.slash(simulated.channel, SET, **options))
    done = simulated.told(await simulated.root.slash(simulated.channel, SET, **options))
    not_unset = simulated.told(await simulated.ada.slash(simulated.channel, UNSET, name="timeout", scope=scope))
    simulated.no_longer_manages(simulated.root)
    no_more = simulated.told(await simulated.root.slash(simulated.channel, SET, **options))

    assert refused == not_unset == no_more == f"Only an admin may set timeout for the {words}."
    assert done == f"timeout is now 5 for the {words}."
    assert f"**timeout**: 5 ({scope})" in simulated.told(await simulated.ada.slash(simulated.channel, SHOW))


async def test_what_an_option_cannot_be_is_said_in_words(simulated: Simulated) -> None:
    async def told(name: str, value: str, **more: str) -> str:
        return simulated.told(await simulated.root.slash(simulated.channel, SET, name=name, value=value, **more))

    assert await told("timeout", "9999") == "timeout is a number from 1 to 60. '9999' is not."
    assert await told("followups", "none") == "followups is one of: all, mention. 'none' is not."
    assert (await told("colour", "red")).startswith("There is no option 'colour'. There are: model, ")
    assert (await told("show_code", "off", scope="thread")).startswith("Say this in a thread of mine")


async def test_names_and_values_of_options_complete_themselves(simulated: Simulated) -> None:
    async def offered(option: str, begun: str, **filled: str) -> list[str]:
        found = await simulated.ada.autocomplete(simulated.channel, SET, option, begun, **filled)
        return [choice["value"] for choice in found]

    assert await offered("name", "tim") == ["timeout"]
    assert len(await offered("name", "")) == 14
    assert await offered("name", "zzz") == []
    assert await offered("value", "", name="followups") == ["all", "mention"]
    assert await offered("value", "ME", name="followups") == ["mention"]
    assert await offered("value", "", name="timeout") == ["20"]
    assert await offered("value", "", name="nothing") == []
    assert await offered("value", "") == []
    unset = await simulated.ada.autocomplete(simulated.channel, UNSET, "name", "show")
    assert unset == [{"name": "show_code: whether the code is shown with its output", "value": "show_code"}]


async def test_the_form_asks_for_an_option_and_keeps_only_what_is_within_its_range(simulated: Simulated) -> None:
    root = simulated.root
    listed = await root.slash(simulated.channel, FORM)
    assert simulated.told(listed) == "Options for the channel:"

    wrong = await root.submit_modal(await root.select(listed.response, ["timeout"]), {"value": "9999"})
    before = simulated.told(await root.slash(simulated.channel, SHOW))
    fine = await root.submit_modal(await root.select(listed.response, ["timeout"]), {"value": "7"})
    form = await root.select(listed.response, ["followups"])
    chosen = await root.submit_modal(form, {"value": ["mention"]})
    after = simulated.told(await root.slash(simulated.channel, SHOW))

    assert simulated.told(wrong) == "timeout is a number from 1 to 60. '9999' is not."
    assert "**timeout**: 20 (default)" in before
    offered = form.modal["components"][0]["component"]["options"]
    assert {option["value"]: option.get("default", False) for option in offered} == {"all": True, "mention": False}
    assert simulated.told(fine) == "timeout is now 7 for the channel."
    assert simulated.told(chosen) == "followups is now mention for the channel."
    assert "**timeout**: 7 (channel)" in after
    assert "**followups**: mention (channel)" in after


async def test_the_form_sets_for_the_server_what_one_channel_has_already(simulated: Simulated) -> None:
    root, elsewhere = simulated.root, simulated.guild.create_text_channel("elsewhere")
    await root.slash(simulated.channel, SET, name="timeout", value="7")

    listed = await root.slash(simulated.channel, FORM, scope="workspace")
    done = await root.submit_modal(await root.select(listed.response, ["timeout"]), {"value": "7"})

    assert simulated.told(done) == "timeout is now 7 for the workspace."
    assert "**timeout**: 7 (workspace)" in simulated.told(await root.slash(elsewhere, SHOW))


async def test_there_is_no_form_of_a_thread_outside_of_one(simulated: Simulated) -> None:
    listed = await simulated.root.slash(simulated.channel, FORM, scope="thread")

    assert simulated.told(listed) == "There is no thread here. Use this in one, or choose another scope."
    assert not listed.response.components


async def test_the_form_of_a_thread_has_what_who_asked_there_may_set(simulated: Simulated) -> None:
    thread = simulated.place((await simulated.run("x = 1")).id)

    listed = await simulated.ada.slash(thread, FORM)
    done = await simulated.ada.submit_modal(await simulated.ada.select(listed.response, ["prompt"]), {"value": "Hi."})
    stranger = await simulated.bob.slash(thread, FORM)

    options = [option["value"] for option in listed.response.components[0]["components"][0]["options"]]
    assert options == ["prompt", "followups", "show_code"]
    assert simulated.told(done) == "prompt is now Hi. for the thread."
    assert simulated.told(stranger).startswith("Only an admin may set options for the thread.")


async def test_the_form_is_refused_to_who_may_not_and_to_who_no_longer_may(simulated: Simulated) -> None:
    root = simulated.root
    refused = await simulated.ada.slash(simulated.channel, FORM)
    listed = await root.slash(simulated.channel, FORM, scope="workspace")
    form = await root.select(listed.response, ["timeout"])

    simulated.no_longer_manages(root)
    late = await root.submit_modal(form, {"value": "7"})
    later = await root.select(listed.response, ["timeout"])

    assert simulated.told(refused).startswith("Only an admin may set options for the channel.")
    assert not refused.response.components
    assert simulated.told(late) == "Only an admin may set timeout for the workspace."
    assert simulated.told(later) == "You may not set timeout for the workspace."
    assert later.modal is None
    assert "**timeout**: 20 (default)" in simulated.told(await root.slash(simulated.channel, SHOW))


async def test_nobody_but_who_asked_sees_what_a_command_answers(simulated: Simulated) -> None:
    offered = simulated.ada.available_commands(simulated.channel)
    simple = [name for name in offered if name.startswith("sandbox ") and " config " not in name]

    for name in [*simple, SHOW]:
        simulated.told(await simulated.ada.slash(simulated.channel, name))

    assert sorted(simple) == [f"sandbox {word}" for word in ("help", "reset", "sandboxes", "status", "stop", "usage")]
    assert simulated.ours(simulated.channel.id) == []
    assert simulated.pinged() == set()


async def test_what_is_printed_or_asked_notifies_nobody(simulated: Simulated) -> None:
    everybody = f"@everyone @here {simulated.bob.mention} {simulated.guild.default_role.mention}"

    asked = await simulated.run(f"print({everybody!r})")
    await simulated.ada.slash(simulated.channel, "ask", text=everybody)
    await simulated.root.slash(simulated.channel, SET, name="prompt", value=everybody)
    await simulated.ended(simulated.ours(simulated.channel.id)[0])

    assert "@everyone" in simulated.shown(asked.id)
    assert "@everyone" in simulated.shown(simulated.channel.id)
    assert simulated.pinged() == set()


async def test_discord_is_told_of_the_commands_only_when_they_change(simulated: Simulated) -> None:
    def told() -> int:
        return sum(one.method == "PUT" and one.path.endswith("/commands") for one in simulated.env.http_requests)

    at_first = told()
    await simulated.restart()
    after_a_restart = told()
    await simulated.restart(direct_messages=False)

    assert (at_first, after_a_restart, told()) == (1, 1, 2)
