"""What would be easy to get wrong: each of these was wrong once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from adapters.discord import calls
from bot.invocation import Invocation
from bot.model import Person, ThreadKey
from tests.doubles.discord_bot import DiscordBot
from tests.doubles.discord_guild import BOT, GENERAL, GUILD, PERMISSIONS
from tests.doubles.discord_people import MENTION
from tests.doubles.discord_server import Fault
from tests.doubles.model_server import Fault as ModelFault
from tests.doubles.model_server import Held, ModelServer, python

pytestmark = pytest.mark.asyncio(loop_scope="module")

LONG = "\n\n".join(f"Paragraph {number}: " + "word " * 60 for number in range(15))
ROOT = Person(id="1", name="Root", is_admin=True)


@pytest_asyncio.fixture(loop_scope="module")
async def bot(
    connected_discord: DiscordBot, model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[DiscordBot]:
    monkeypatch.setattr(calls, "FIRST_WAIT_SECONDS", 0.02)
    yield await connected_discord.as_new()
    assert connected_discord.server.violations == []


async def configure(bot: DiscordBot, words: str, channel: str) -> None:
    place = bot.server.api.guild.channel(channel)["id"]
    key = ThreadKey(platform="discord", workspace=GUILD, channel=place, thread="")
    await bot.parts.front.commands.run(Invocation(key=key, person=ROOT, words=f"config set {words}", scope="channel"))


@pytest.mark.parametrize("why", ["may not send", "off", "denied"])
async def test_nothing_is_said_for_who_may_not_ask(bot: DiscordBot, model: ModelServer, why: str) -> None:
    guild = bot.server.api.guild
    channel = guild.channel("random")
    if why == "may not send":
        send = str(PERMISSIONS["send_messages"])
        channel["permission_overwrites"] = [
            {"id": GUILD, "type": 0, "allow": "0", "deny": send},
            {"id": BOT, "type": 1, "allow": send, "deny": "0"},
        ]
    else:
        value = "answers off" if why == "off" else f"deny <@{guild.user_id('bob')}>"
        await configure(bot, f"channel {value}", "random")

    asked = await bot.people.slash("ask", channel="random", user="bob", text="BUY MY COIN")
    await bot.server.until(lambda: asked.shown)
    channel["permission_overwrites"] = []

    assert asked.ephemeral
    assert bot.people.messages("random") == []


async def test_a_long_answer_is_deleted_whole(bot: DiscordBot, model: ModelServer) -> None:
    model.script[:] = [LONG]
    asked = await bot.people.say(f"{MENTION} long")
    await bot.people.ended(asked)
    assert len(bot.people.said(asked)) > 2

    await bot.people.press("tb:delete")

    await bot.server.until(lambda: "Paragraph" not in bot.people.shown(asked))


async def test_a_long_answer_that_is_delivered_again_is_there_once(bot: DiscordBot, model: ModelServer) -> None:
    model.script[:] = [LONG]
    asked = await bot.people.say(f"{MENTION} long")
    await bot.people.ended(asked)
    before = len(bot.people.said(asked))
    key = ThreadKey(platform="discord", workspace=GUILD, channel=GENERAL, thread=asked)
    entry = (await bot.parts.history.entries(key, 1))[0]
    posted = (await bot.parts.history.posted(entry.turn_id or ""))[-1]
    bot.server.api.messages.nonces.clear()  # as Discord does after some minutes

    for known in (posted.message_id, (posted.message_id or "").split()[0]):
        await bot.discord.platform.update(key, known or "", posted.reply)

    assert len(bot.people.said(asked)) == before


async def test_the_stop_of_a_follow_up_in_a_channel_stops_it(bot: DiscordBot, model: ModelServer) -> None:
    await configure(bot, "channel answer_in channel", "random")
    asked = await bot.people.say(f"{MENTION} hello", channel="random")
    await bot.people.ended(asked)
    model.script[:] = [Held()]
    again = await bot.people.say("and more", channel="random", reply_to=bot.people.said("random")[-1])
    await bot.people.sees("random", "I am at it")

    await bot.people.press("tb:stop:")

    assert await bot.people.ended(again) == "🛑"


async def test_a_stop_stops_what_it_is_about_and_nothing_beside_it(bot: DiscordBot, model: ModelServer) -> None:
    await configure(bot, "channel answer_in channel", "random")
    held = Held()
    model.script[:] = [held, held]
    one = await bot.people.say(f"{MENTION} one", channel="random")
    two = await bot.people.say(f"{MENTION} two", channel="random", user="bob")
    await bot.server.until(lambda: bot.people.shown("random").count("I am at it") == 2)
    card = next(m for m in bot.people.said("random") if m["message_reference"]["message_id"] == one)
    del bot.people.message(card["id"])["message_reference"]  # as when the question was deleted before it came

    await bot.people.press("tb:stop:", message=card["id"], user="ada")

    assert await bot.people.ended(one) == "🛑"
    held.release()
    assert await bot.people.ended(two) == "✅"


async def test_stop_in_a_channel_leaves_what_others_asked_in_threads(bot: DiscordBot, model: ModelServer) -> None:
    held = Held()
    model.script[:] = [held]
    asked = await bot.people.say(f"{MENTION} secret")
    await bot.people.sees(asked, "I am at it")

    said = await bot.people.slash("sandbox stop", user="bob")

    await bot.server.until(lambda: "Nothing is running here" in said.shown)
    held.release()
    assert await bot.people.ended(asked) == "✅"


async def test_a_channel_where_we_may_not_answer_costs_no_request(bot: DiscordBot, model: ModelServer) -> None:
    bot.server.api.guild.deny("random", "send_messages", "send_messages_in_threads", "create_public_threads")

    asked = await bot.people.say(f"{MENTION} hello", channel="random")

    await bot.server.until(lambda: bot.people.reactions(asked) == {"🔇"})
    assert model.requests == []


async def test_a_right_that_is_lost_meanwhile_ends_the_request(bot: DiscordBot, model: ModelServer) -> None:
    held = Held()
    model.script[:] = [held]
    asked = await bot.people.say(f"{MENTION} hello", channel="data")
    await bot.people.sees(asked, "I am at it")
    bot.server.api.guild.deny("data", "send_messages", "send_messages_in_threads")
    held.release()

    assert await bot.people.ended(asked) == "✅"


async def test_where_we_may_not_react_answers_come_all_the_same(bot: DiscordBot, model: ModelServer) -> None:
    bot.server.api.guild.deny("science", "add_reactions")
    root = await bot.people.say(f"{MENTION} hello", channel="science")
    await bot.people.sees(root, "Done.")
    model.script[:] = ["Still here."]

    await bot.people.say("and now?", thread=root)

    await bot.people.sees(root, "Still here.")


async def test_where_we_may_not_post_files_they_are_named(bot: DiscordBot, model: ModelServer) -> None:
    bot.server.api.guild.deny("help", "attach_files")
    model.script[:] = [python("open('a.csv', 'w').write('1')\nprint('made')"), "Done."]

    asked = await bot.people.say(f"{MENTION} make", channel="help")
    await bot.people.ended(asked)

    shown = bot.people.shown(asked)
    assert "a.csv (1 B) is not attached" in shown and "made" in shown and "Done." in shown


async def test_where_we_may_not_read_what_was_said_we_answer_without_pointing(
    bot: DiscordBot, model: ModelServer
) -> None:
    bot.server.api.guild.deny("ops", "read_message_history", "create_public_threads")

    await bot.people.say(f"{MENTION} hello", channel="ops")

    await bot.people.sees("ops", "Done.")


async def test_a_file_whose_address_is_a_day_old_is_said_to_be_left_out(bot: DiscordBot, model: ModelServer) -> None:
    bot.server.api.expired = True

    asked = await bot.people.say(f"{MENTION} read", files=[("in.csv", b"a,b,c")])
    await bot.people.ended(asked)

    assert "in.csv could not be fetched and was left out." in bot.people.shown(asked).replace("\\", "")
    assert "Done." in bot.people.shown(asked)


async def test_a_deleted_thread_is_not_made_again(bot: DiscordBot, model: ModelServer) -> None:
    held = Held()
    model.script[:] = [held, held]
    asked = await bot.people.say(f"{MENTION} secret")
    await bot.people.sees(asked, "I am at it")
    queued = await bot.people.say("and more", thread=asked)
    await bot.server.until(lambda: "⏳" in bot.people.reactions(queued))

    bot.people.delete_thread(asked)
    bot.people.message(asked)["flags"] = 0  # Discord would let it have another
    held.release()
    await bot.people.ended(asked)
    await asyncio.sleep(0.3)

    assert asked not in bot.server.api.guild.channels
    assert len(model.requests) == 1


async def test_a_sticker_is_no_request(bot: DiscordBot, model: ModelServer) -> None:
    root = await bot.people.say(f"{MENTION} hello")
    await bot.people.ended(root)
    people = bot.people
    sticker = people.kept.new(root, people.guild.user_id("bob"), {"content": "x"}, {})
    sticker |= {"content": "", "sticker_items": [{"id": "1", "name": "thanks", "format_type": 1}]}

    people.kept.add(sticker)
    asked = await people.say("go on", thread=root)
    await people.ended(asked)

    assert len(model.requests) == 2


async def test_who_may_not_ask_is_not_told_so_at_every_word(bot: DiscordBot, model: ModelServer) -> None:
    root = await bot.people.say(f"{MENTION} hello")
    await bot.people.ended(root)
    await configure(bot, f"channel deny <@{bot.server.api.guild.user_id('bob')}>", "general")

    await bot.people.say("chatter", thread=root, user="bob")
    await bot.people.say(f"{MENTION} and me?", thread=root, user="bob")
    await bot.people.sees(root, "You may not ask me here")

    assert bot.people.shown(root).count("You may not ask me here") == 1


async def test_only_who_asked_deletes_an_answer_and_is_called(bot: DiscordBot, model: ModelServer) -> None:
    held = Held(python("print('went')"))
    model.script[:] = [held, *[ModelFault(status=400)] * 4]
    asked = await bot.people.say(f"{MENTION} go")
    await model.asked()
    also = await bot.people.say("also this", thread=asked, user="bob")
    await bot.server.until(lambda: "⏳" in bot.people.reactions(also))
    held.release()
    await bot.people.ended(asked)
    last = bot.people.said(asked)[-1]

    refused = await bot.people.press("tb:delete", message=last, user="bob")

    await bot.server.until(lambda: "Only the person who asked" in refused.shown)
    assert last["content"].startswith(f"<@{bot.server.api.guild.user_id('ada')}>")


async def test_a_press_that_fails_is_told(bot: DiscordBot, model: ModelServer) -> None:
    asked = await bot.people.say(f"{MENTION} hello")
    await bot.people.ended(asked)
    bot.server.faults["DELETE", "/channels/{channel_id}/messages/{message_id}"].append(Fault("error", (403, 50013)))

    pressed = await bot.people.press("tb:delete")

    await bot.server.until(lambda: "Something went wrong" in pressed.shown)


async def test_messages_that_are_deleted_together_are_all_withdrawn(bot: DiscordBot, model: ModelServer) -> None:
    model.script[:] = [Held()]
    asked = await bot.people.say(f"{MENTION} hello")
    await bot.people.sees(asked, "I am at it")
    told = {"ids": [asked, "1"], "channel_id": GENERAL, "guild_id": GUILD}

    bot.server.gateway.dispatch("MESSAGE_DELETE_BULK", told)

    await bot.people.sees(asked, "Stopped.")
