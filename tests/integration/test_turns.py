"""Turns from message to last reply: real agent, real model client, real kernel; only Docker and DBOS are left out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from bot.errors import Refused
from bot.memory_queue import MemorySteps
from bot.model import Attachment, File, Picture
from sandbox import Limits
from sandbox.errors import EngineUnavailable
from sandbox.service import SandboxService
from tests.doubles.bot import Bot, SharedSandboxes, running_bot
from tests.doubles.model_server import Call, Fault, ModelServer, model_server, python
from tests.doubles.process_engine import PipeWire, ProcessEngine


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with model_server() as running:
        yield running


@pytest.fixture
def model(server: ModelServer) -> ModelServer:
    server.script.clear()
    server.requests.clear()
    return server


# one loop for the module: its tests share the sandboxes, so an interpreter is started once and not thirty times
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandboxes() -> AsyncIterator[SandboxService]:
    engine = ProcessEngine()
    async with SharedSandboxes(engine, limits=Limits(timeout_seconds=10)) as service:
        yield service
    await engine.aclose()


@pytest_asyncio.fixture(loop_scope="module")
async def bot(tmp_path: Path, sandboxes: SandboxService, model: ModelServer) -> AsyncIterator[Bot]:
    async with running_bot(tmp_path, sandboxes, model_url=model.url) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def direct(tmp_path: Path, sandboxes: SandboxService) -> AsyncIterator[Bot]:
    async with running_bot(tmp_path, sandboxes) as running:
        yield running


def last(request: dict[str, Any]) -> dict[str, Any]:
    return request["messages"][-1]


async def test_a_request_becomes_words_code_output_and_an_answer(bot: Bot, model: ModelServer) -> None:
    model.script[:] = [python("print(6 * 7)", "Let me compute."), "It is **42**."]

    assert await bot.ask("what is 6 * 7?") == "done"

    assert bot.platform.text().split("\n") == [
        "Let me compute.", "Code(language='python', source='print(6 * 7)')", "42", "It is **42**.",
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
    model.script[:] = [python("import time; time.sleep(0.5); print('first')"), "one", python("print('second')"), "two"]

    await bot.say("a")
    await bot.say("b")
    await bot.platform.ended("2")

    shown = bot.platform.text()
    assert shown.index("first") < shown.index("one") < shown.index("second") < shown.index("two")


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


async def test_the_round_limit_ends_in_an_answer_not_in_raw_output(bot: Bot, model: ModelServer) -> None:
    model.script[:] = [*(python(f"print('round', {n})") for n in range(5)), "That is all."]

    assert await bot.ask("go on") == "done"

    assert bot.platform.text().endswith("That is all.")
    assert len(model.requests) == 6


async def test_the_same_call_three_times_is_stopped_and_said(bot: Bot, model: ModelServer) -> None:
    model.script[:] = [python("print(1)")] * 5

    assert await bot.ask("loop") == "done"

    assert "asked for the same code 3 times" in bot.platform.text()
    assert len(model.requests) == 3


async def test_a_call_written_as_text_is_run(bot: Bot, model: ModelServer) -> None:
    model.script[:] = ['```json\n{"name": "python", "arguments": {"code": "print(40 + 2)"}}\n```', "It is 42."]

    assert await bot.ask("compute") == "done"

    assert "42" in bot.platform.text().split("\n")
    assert "arguments" not in bot.platform.text()


@pytest.mark.parametrize("arguments", ["{not json", '{"wrong": 1}', "[]"])
async def test_arguments_that_are_no_arguments_go_back_to_the_model(
    bot: Bot, model: ModelServer, arguments: str
) -> None:
    model.script[:] = [Call([("python", arguments)]), "Sorry."]

    assert await bot.ask("compute") == "done"

    assert bot.platform.text() == "Sorry."


async def test_a_tool_that_does_not_exist_is_no_crash(bot: Bot, model: ModelServer) -> None:
    model.script[:] = [Call([("browse", {"url": "x"})]), "I cannot browse."]

    assert await bot.ask("browse") == "done"

    assert "I cannot browse." in bot.platform.text()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault(401), "did not accept the key"),
        (Fault(404), "does not know this model"),
        (Fault(400), "refused the request"),
        (Fault(kind="garbage"), "sent something that cannot be read"),
    ],
)
async def test_a_failing_model_is_told_in_words_and_can_be_retried(
    bot: Bot, model: ModelServer, fault: Fault, words: str
) -> None:
    model.script[:] = [fault, "Now it works."]
    receipt = await bot.say("hello")
    assert receipt.turn is not None
    assert await bot.platform.ended("1") == "failed"
    assert words in bot.platform.text()
    assert "key\n" not in bot.platform.text()

    again = await bot.intake.retry(receipt.turn.id)
    with pytest.raises((Refused, LookupError)):
        await bot.intake.retry(again.id)
    await bot.platform.shows("Now it works.")

    assert await bot.platform.ended("1") == "done"


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_passing_fault_of_the_model_server_is_not_seen(bot: Bot, model: ModelServer, status: int) -> None:
    model.script[:] = [Fault(status), "Here I am."]

    assert await bot.ask("hello") == "done"

    assert bot.platform.text() == "Here I am."


async def test_a_lasting_fault_is_told(bot: Bot, model: ModelServer) -> None:
    model.script[:] = [Fault(429)] * 3

    assert await bot.ask("hello") == "failed"

    assert "over its rate limit" in bot.platform.text()


async def test_a_model_that_runs_away_is_cut_off(bot: Bot, model: ModelServer) -> None:
    model.script[:] = [Fault(kind="newlines")]

    assert await bot.ask("hello") == "done"

    assert bot.platform.text() == "(The model gave an empty answer.)"


async def test_a_turn_that_takes_too_long_is_ended_with_its_limit(
    tmp_path: Path, sandboxes: SandboxService, model: ModelServer
) -> None:
    model.script[:] = [python("while True: pass")]
    async with running_bot(tmp_path, sandboxes, model_url=model.url, turn_seconds=1) as bot:
        assert await bot.ask("for ever") == "failed"

        assert "one request may take 1 s" in bot.platform.text()


async def test_the_reset_word_empties_the_sandbox(bot: Bot, model: ModelServer) -> None:
    model.script[:] = [python("x = 1"), "ok", python("print(x)"), "gone"]
    await bot.ask("keep")

    receipt = await bot.say("reset")
    await bot.ask("still there?")

    assert "are gone" in receipt.answer
    assert "NameError" in bot.platform.text()
    assert "This thread has a new sandbox" in bot.platform.text()


async def test_text_that_utf_8_cannot_carry_breaks_nothing(bot: Bot, model: ModelServer) -> None:
    model.script[:] = [python("x = '\ud800'\nraise ValueError(x)", "So \ud800 be it."), "Done \udfff.", "Still here."]

    assert await bot.ask("break") == "done"
    assert await bot.ask("again") == "done"

    assert "Still here." in bot.platform.text()
    bot.platform.text().encode()


async def test_a_flood_of_small_prints_keeps_the_loop_free(bot: Bot, model: ModelServer) -> None:
    code = "import sys\nfor n in range(20_000): sys.stdout.write('.\\n'); sys.stdout.flush()"
    model.script[:] = [python(code), "Done."]
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.01)
            longest = max(longest, time.monotonic() - before)

    watching = asyncio.ensure_future(watch())
    assert await bot.ask("flood") == "done"
    watching.cancel()

    assert longest < 1.0  # a bound for a noisy machine; minutes before the live output was bounded


# ---- limits of the intake


@pytest.mark.parametrize(
    ("text", "attachments", "words"),
    [
        ("", (), "empty"),
        ("x" * 1001, (), "1,001 characters; I take 1,000"),
        ("x", (Attachment(name="big.bin", size=200_000_000, source="s"),), "big.bin has 200.0 MB; I take 1.0 MB"),
        ("x", tuple(Attachment(name="a", size=1, source="s") for _ in range(11)), "11 files in one message; I take 10"),
    ],
)
async def test_what_is_too_much_is_refused_with_the_limit(
    direct: Bot, text: str, attachments: tuple[Attachment, ...], words: str
) -> None:
    with pytest.raises(Refused, match=words):
        await direct.say(text, attachments=attachments)


async def test_one_more_waiting_turn_than_allowed_is_refused(bot: Bot, model: ModelServer) -> None:
    model.script[:] = [Fault(kind="hang")] * 3
    for n in range(3):
        await bot.say(f"wait {n}", thread=str(n))
        await bot.platform.shows("\n".join(["Let me think"] * (n + 1)))

    with pytest.raises(Refused, match="3 of your requests are waiting already"):
        await bot.say("one more")

    for n in range(3):
        await bot.say("stop", thread=str(n))
    assert {await bot.platform.ended(str(n)) for n in (1, 2, 3)} == {"stopped"}


async def test_the_same_message_twice_is_one_turn(direct: Bot) -> None:
    sent = direct.message("```\nprint('once')\n```")

    receipts = [await direct.intake.take(sent, direct.platform) for _ in range(2)]
    await direct.platform.ended(sent.message_id)

    assert [receipt.kind for receipt in receipts] == ["turn", "duplicate"]
    assert direct.platform.text().count("once") == 2  # the code and its output


# ---- without a model


async def test_direct_mode_runs_blocks_in_order_up_to_the_first_that_fails(direct: Bot) -> None:
    await direct.ask("```python\nx = 1\n```\n```bash\necho two\n```\n```\n1/0\n```\n```\nprint('never')\n```")

    assert "two" in direct.platform.text()
    assert "ZeroDivisionError" in direct.platform.text()
    assert "never\n" not in direct.platform.text() + "\n"


async def test_direct_mode_says_how_to_set_a_model(direct: Bot) -> None:
    await direct.ask("plot something")

    assert "OPENAI_API_KEY" in direct.platform.text()


async def test_direct_mode_names_a_language_it_cannot_run(direct: Bot) -> None:
    await direct.ask("```rust\nfn main() {}\n```")

    assert "Cannot run 'rust'" in direct.platform.text()


# ---- delivery


async def test_a_post_that_fails_is_tried_again(direct: Bot) -> None:
    direct.platform.fail_next = 2

    await direct.ask("```\nprint('x')\n```")

    assert direct.platform.order == ["".join(direct.platform.order[0])]


async def test_a_post_whose_answer_was_lost_is_found_and_not_posted_again(direct: Bot) -> None:
    direct.platform.lose_next = 1

    await direct.ask("```\nprint('x')\n```")

    assert len(direct.platform.order) == 1
    assert "x" in direct.platform.text().split("\n")


# ---- a turn that begins again


async def test_a_turn_that_begins_again_repeats_no_call_no_cell_and_no_post(bot: Bot, model: ModelServer) -> None:
    model.script[:] = [python("n = 0\nn += 1\nprint('ran', n)"), "Done once."]
    record: dict[str, Any] = {}
    sent = bot.message("go")
    turn = await bot.intake._inbox.claim(sent, answer=True)
    assert turn is not None
    await bot.runner.run(turn.id, MemorySteps(record))
    posts = list(bot.platform.order)
    asked = len(model.requests)
    await bot.turns.start(turn.id)  # as a crash before the last write leaves it

    await bot.runner.run(turn.id, MemorySteps(record))

    assert len(model.requests) == asked
    assert bot.platform.order == posts


async def test_a_cell_that_was_cut_off_is_not_run_twice(bot: Bot, model: ModelServer) -> None:
    model.script[:] = [python("print('ran')"), "I see."]
    sent = bot.message("go")
    turn = await bot.intake._inbox.claim(sent, answer=True)
    assert turn is not None
    await bot.turns.begin_run(f"{turn.id}.1", turn.id)  # as a crash under the cell leaves it

    await bot.runner.run(turn.id, MemorySteps())

    assert "Its outcome is unknown, and it was not run again." in bot.platform.text()
    assert "not run again" in last(model.requests[1])["content"]


class NoEngine(ProcessEngine):
    """An engine that does not answer."""

    async def create(self, sandbox_id: str, limits: Limits) -> tuple[str, PipeWire]:
        raise EngineUnavailable


async def test_a_failing_sandbox_is_told_and_not_shown_as_output(tmp_path: Path) -> None:
    engine = NoEngine()
    async with SandboxService(engine) as broken, running_bot(tmp_path, broken) as bot:
        await bot.ask("```\nprint('x')\n```")

        assert "The sandbox failed: The Docker Engine does not answer." in bot.platform.text()
    await engine.aclose()


async def test_turns_of_many_threads_do_not_mix(direct: Bot) -> None:
    async def one(n: int) -> None:
        key = direct.message(f"```\nprint('answer', {n} * 2)\n```", thread=str(n))
        await direct.intake.take(key, direct.platform)
        assert await direct.platform.ended(key.message_id) == "done"

    for start in range(0, 6, 3):
        await asyncio.gather(*(one(n) for n in range(start, start + 3)))

    for n in range(6):
        assert f"answer {n * 2}" in direct.platform.text().split("\n")
