"""Turns from message to last reply: real agent, real model client, real kernel; only Docker and DBOS are left out."""

from __future__ import annotations

import time
from typing import Any

import pytest

from bot.model import Attachment, File, Picture
from tests.doubles.bot import SECRET, Bot
from tests.doubles.loop_watch import loop_watch
from tests.doubles.model_server import Call, Fault, ModelServer, python

# one loop for the module: its tests share the sandboxes of tests/integration/conftest.py
pytestmark = pytest.mark.asyncio(loop_scope="module")


def last(request: dict[str, Any]) -> dict[str, Any]:
    return request["messages"][-1]


async def test_a_request_becomes_words_code_output_and_an_answer(bot: Bot, model: ModelServer) -> None:
    model.script[:] = [python("print(6 * 7)", "Let me compute."), "It is **42**."]

    assert await bot.ask("what is 6 * 7?") == "done"

    assert bot.platform.text().split("\n") == [
        "Let me compute.", "Code(language='python', source='print(6 * 7)', hidden=False)", "42", "It is **42**.",
    ]  # fmt: skip
    assert bot.platform.signs["1"] == ["seen", "working", "done"]
    assert last(model.requests[0])["content"] == "Ada: what is 6 * 7?"
    assert last(model.requests[1])["content"].startswith("42\n")


async def test_a_follow_up_has_the_variables_and_the_memory_of_the_first(bot: Bot, model: ModelServer) -> None:
    model.script[:] = [python("x = 21"), "Kept.", python("print(x * 2)"), "42."]
    await bot.ask("keep 21")

    await bot.ask("double it")

    assert "42" in bot.platform.text().split("\n")
    assert [m["role"] for m in model.requests[2]["messages"]] == [
        "system",
        "user",
        "assistant",
        "tool",
        "assistant",
        "user",
    ]


async def test_threads_share_nothing(bot: Bot, model: ModelServer) -> None:
    model.script[:] = [python("x = 1"), "ok", python("print(x)"), "no"]
    await bot.ask("a", thread="shares-1")

    await bot.ask("b", thread="shares-2")

    assert "NameError" in bot.platform.text()


async def test_pictures_and_files_come_back(bot: Bot, model: ModelServer) -> None:
    code = "open('a.csv', 'w').write('1,2')\n"
    code += "from IPython.display import Image, display\n"
    code += "display(Image(data=b'\\x89PNG' + b'x' * 9, format='png'))"
    model.script[:] = [python(code), "Here."]

    await bot.ask("make")

    blocks = [block for reply in bot.platform.posts.values() for block in reply.blocks]
    (picture,) = [block for block in blocks if isinstance(block, Picture)]
    (file,) = [block for block in blocks if isinstance(block, File)]
    assert (await bot.artifacts.load(picture.artifact.id))[1] == b"\x89PNG" + b"x" * 9
    assert (await bot.artifacts.load(file.artifact.id))[1] == b"1,2"
    assert "a.csv" in last(model.requests[1])["content"]


async def test_files_over_the_bound_stay_and_are_named(direct: Bot) -> None:
    await direct.ask(
        "```\nfor n in range(5): open(f'{n}.txt', 'w').write('x')\nopen('0.txt', 'wb').write(b'x' * 2_000_000)\n```"
    )

    assert "0.txt (2.0 MB) stays in the sandbox: I bring back files up to 1.0 MB." in direct.platform.text()
    assert "2 more files stay in the sandbox." in direct.platform.text()


async def test_what_a_request_brings_back_is_bounded_over_all_its_code(direct: Bot) -> None:
    write = "```\nopen('{}', 'wb').write(b'x' * 900_000)\n```\n"
    await direct.ask("".join(write.format(name) for name in "abc") + "```\nopen('d', 'w').write('x')\n```")

    files = [
        block.artifact.name
        for reply in direct.platform.posts.values()
        for block in reply.blocks
        if isinstance(block, File)
    ]
    assert files == ["a", "b", "d"]
    assert "c stays in the sandbox: one request brings back 2.1 MB at most." in direct.platform.text()


async def test_attached_files_are_in_the_workspace(bot: Bot, model: ModelServer) -> None:
    bot.platform.files["s"] = b"a,b\n1,2\n"
    model.script[:] = [python("print(open('data.csv').read())"), "Read."]

    await bot.ask("read it", attachments=(Attachment(name="../data.csv", size=8, source="s"),))

    assert "1,2" in bot.platform.text()
    assert "data.csv" in last(model.requests[0])["content"]


async def test_stop_ends_code_that_never_ends_and_the_next_message_works(bot: Bot, model: ModelServer) -> None:
    model.script[:] = [python("print('go')\nwhile True: pass"), python("print('next')"), "Fine."]
    await bot.say("run for ever")
    await bot.platform.shows("go\n")
    started = time.monotonic()

    receipt = await bot.say("stop")

    assert await bot.platform.ended("1") == "stopped"
    assert receipt.answer == "Stopping."
    assert time.monotonic() - started < 2
    assert await bot.ask("and now?") == "done"
    assert "next" in bot.platform.text()


@pytest.mark.parametrize("kind", ["hang", "slow"])
async def test_stop_ends_a_model_that_does_not_answer(bot: Bot, model: ModelServer, kind: str) -> None:
    model.script[:] = [Fault(kind=kind), "Hello again."]
    await bot.say("think")
    await bot.platform.shows("Let me think" if kind == "hang" else "word word")
    started = time.monotonic()

    await bot.say("stop")

    assert await bot.platform.ended("1") == "stopped"
    assert time.monotonic() - started < 2
    assert await bot.ask("hello?") == "done"
    assert "Hello again." in bot.platform.text()


async def test_after_a_stop_no_call_is_left_without_a_result(bot: Bot, model: ModelServer) -> None:
    model.script[:] = [python("print('go')\nwhile True: pass"), "Fine."]
    await bot.say("run for ever")
    await bot.platform.shows("go\n")
    await bot.say("stop")
    await bot.platform.ended("1")

    await bot.ask("and now?")

    roles = [m["role"] for m in model.requests[-1]["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "user"]


async def test_a_second_message_waits_its_turn(bot: Bot, model: ModelServer) -> None:
    model.script[:] = ["one", python("print('second')"), "two"]

    await bot.say("a")
    await bot.say("b")
    await bot.platform.ended("2")

    shown = bot.platform.text()
    assert shown.index("one") < shown.index("second") < shown.index("two")


async def test_parallel_calls_take_turns(bot: Bot, model: ModelServer) -> None:
    model.script[:] = [
        Call(
            [
                ("python", {"code": "x = 1"}),
                ("python", {"code": "x += 1; print(x)"}),
                ("shell", {"command": "echo three"}),
            ]
        ),
        "ok",
    ]

    assert await bot.ask("do three") == "done"

    assert [line for line in bot.platform.text().split("\n") if line in ("2", "three")] == ["2", "three"]


async def test_the_reset_word_empties_the_sandbox(bot: Bot, model: ModelServer) -> None:
    model.script[:] = [python("x = 1"), "ok", python("print(x)"), "gone"]
    await bot.ask("keep")

    receipt = await bot.say("reset")
    await bot.ask("still there?")

    assert "are gone" in receipt.answer
    assert "NameError" in bot.platform.text()
    assert "This thread has a new sandbox" in bot.platform.text()


async def test_a_flood_of_small_prints_keeps_the_loop_free(bot: Bot, model: ModelServer) -> None:
    code = "import sys\nfor n in range(20_000): sys.stdout.write('.\\n'); sys.stdout.flush()"
    model.script[:] = [python(code), "Done."]
    async with loop_watch() as watch:
        assert await bot.ask("flood") == "done"

    assert watch.held_up < 1.0  # minutes before the live output was bounded


@pytest.mark.parametrize("count", [3_000, 30_000])
async def test_output_too_long_to_show_comes_whole_as_a_file(direct: Bot, count: int) -> None:
    await direct.ask(f"```\nfor n in range({count}): print(f'{{n:05}}')\n```")

    blocks = [block for reply in direct.platform.posts.values() for block in reply.blocks]
    (file,) = [block for block in blocks if isinstance(block, File)]
    assert file.artifact.name == "output.txt"
    assert (await direct.artifacts.load(file.artifact.id))[1].decode() == "".join(f"{n:05}\n" for n in range(count))


async def test_the_bots_own_key_is_in_no_reply_and_no_file(direct: Bot) -> None:
    parts = f"'{SECRET[:6]}' + '{SECRET[6:]}'"

    await direct.ask(f"```\nkey = {parts}\nprint('it is', key)\nopen('key.txt', 'w').write(key)\n```")

    assert "it is [secret]" in direct.platform.text()
    assert SECRET not in direct.platform.text()
    (file,) = [
        block.artifact for reply in direct.platform.posts.values() for block in reply.blocks if isinstance(block, File)
    ]
    assert (await direct.artifacts.load(file.id))[1] == b"[secret]"
