"""What models and their servers do wrong, and what the thread sees of it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from bot.errors import Refused
from bot.ports import Agent
from sandbox.service import SandboxService
from tests.doubles.bot import Bot, autogen_agent, running_bot
from tests.doubles.model_server import Call, Cut, Fault, Held, ModelServer, model_server, python

# one loop for the module: its tests share the sandboxes of tests/integration/conftest.py
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.thorough
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


@pytest.mark.thorough
async def test_tests_that_are_run_again_after_each_change_are_no_loop(bot: Bot, model: ModelServer) -> None:
    tests = python("print(x)")
    model.script[:] = [python("x = 1"), tests, python("x = 2"), tests, tests, "Green."]

    assert await bot.ask("until they pass") == "done"

    assert bot.platform.text().endswith("Green.")


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
        (Fault(400), "refused the request (scripted)."),
        (Fault(kind="garbage"), "sent something that cannot be read"),
        (Fault(kind="half"), "ended its reply in the middle"),
        *(
            pytest.param(*case, marks=pytest.mark.thorough)
            for case in (
                (Fault(400, error={"message": "no such model", "code": "invalid_model"}), "does not know this model"),
                (Fault(400, error={"message": "maximum context length is 10"}), "has grown too long for the model"),
                (Fault(400, error={"message": "sk-key <b>", "code": "sk-key <b>"}), "the request (without a reason)."),
                (Fault(kind="page"), "sent something that cannot be read"),
                (Fault(kind="unreadable"), "sent something that cannot be read"),
                (Fault(kind="cut"), "broke the connection off"),
            )
        ),
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
    assert "sk-" not in bot.platform.text()

    again = await bot.intake.retry(receipt.turn.id)
    with pytest.raises((Refused, LookupError)):
        await bot.intake.retry(again.id)
    await bot.platform.shows("Now it works.")

    assert await bot.platform.ended("1") == "done"
    assert said(model) == "Ada: hello"


@pytest.mark.thorough
async def test_a_model_server_that_is_down_is_told_and_the_message_waits_for_it(
    tmp_path: Path, sandboxes: SandboxService
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen: connections are refused
        port = nobody.getsockname()[1]
        async with (
            autogen_agent(f"http://127.0.0.1:{port}/v1") as agent,
            running_bot(tmp_path, sandboxes, agent=agent) as bot,
        ):
            receipt = await bot.say("hello")
            assert receipt.turn is not None
            assert await bot.platform.ended("1") == "failed"
            told = bot.platform.text()
            nobody.close()
            with model_server(["Now it works."], port) as model:
                await bot.intake.retry(receipt.turn.id)
                await bot.platform.shows("Now it works.")

                assert await bot.platform.ended("1") == "done"

    assert told == "The model server cannot be reached. An operator must check OPENAI_BASE_URL."
    assert said(model) == "Ada: hello"


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["silent", "hang", "slow"])
async def test_a_model_that_takes_too_long_is_told_with_our_time_out_and_can_be_retried(
    tmp_path: Path, sandboxes: SandboxService, model: ModelServer, kind: str
) -> None:
    model.script[:] = [Fault(kind=kind), "Now it works."]
    async with (
        autogen_agent(model.url, timeout_seconds=0.5) as agent,
        running_bot(tmp_path, sandboxes, agent=agent) as bot,
    ):
        receipt = await bot.say("hello")
        assert receipt.turn is not None
        assert await bot.platform.ended("1") == "failed"
        told = bot.platform.text()
        await bot.intake.retry(receipt.turn.id)
        await bot.platform.shows("Now it works.")

        assert await bot.platform.ended("1") == "done"

    assert told.endswith("The model did not answer within 0.5 s.")
    assert said(model) == "Ada: hello"


async def test_a_model_that_has_nothing_to_say_is_no_failure(bot: Bot, model: ModelServer) -> None:
    model.script[:] = [""]

    assert await bot.ask("hello") == "done"

    assert bot.platform.text() == "(The model gave an empty answer.)"


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_passing_fault_of_the_model_server_is_not_seen(bot: Bot, model: ModelServer, status: int) -> None:
    model.script[:] = [Fault(status), "Here I am."]

    assert await bot.ask("hello") == "done"

    assert bot.platform.text() == "Here I am."


async def test_a_lasting_fault_is_told(bot: Bot, model: ModelServer) -> None:
    model.script[:] = [Fault(429)] * 3

    assert await bot.ask("hello") == "failed"

    assert "over its rate limit" in bot.platform.text()


@pytest.mark.thorough
async def test_a_model_that_runs_away_is_cut_off(bot: Bot, model: ModelServer) -> None:
    model.script[:] = [Fault(kind="newlines")]

    assert await bot.ask("hello") == "done"

    assert bot.platform.text().startswith("(The model gave an empty answer.)\nThe model's answer was cut off here")


async def test_an_answer_that_is_cut_at_its_bound_says_so(bot: Bot, model: ModelServer) -> None:
    model.script[:] = [Cut("And the last reason is"), "Whole."]

    assert await bot.ask("explain") == "done"
    assert await bot.ask("again") == "done"

    said = bot.platform.text().splitlines()
    assert said[0] == "And the last reason is"
    assert "THREADBOX_MODEL_MAX_OUTPUT_TOKENS" in said[1]
    assert said[2:] == ["Whole."]


async def test_a_gateway_that_asks_for_openais_name_of_the_bound_is_given_it_from_then_on(
    tmp_path: Path, sandboxes: SandboxService, model: ModelServer
) -> None:
    refusal = (
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    )
    model.script[:] = [Fault(400, error={"message": refusal, "code": "unsupported_parameter"}), "One.", "Two."]
    async with autogen_agent(model.url) as agent, running_bot(tmp_path, sandboxes, agent=agent) as bot:
        assert await bot.ask("hello") == "done"
        assert await bot.ask("again") == "done"

        assert bot.platform.text() == "One.\nTwo."

    bounds = [{name: value for name, value in asked.items() if "tokens" in name} for asked in model.requests]
    assert bounds == [{"max_tokens": 500}, {"max_completion_tokens": 500}, {"max_completion_tokens": 500}]


async def test_the_query_of_a_gateways_address_goes_with_every_request(
    tmp_path: Path, sandboxes: SandboxService, model: ModelServer
) -> None:
    model.queries.clear()
    async with (
        autogen_agent(f"{model.url}/?api-version=2025-01-01") as agent,
        running_bot(tmp_path, sandboxes, agent=agent) as bot,
    ):
        assert await bot.ask("hello") == "done"
        assert await bot.ask("again") == "done"

    assert model.queries == ["api-version=2025-01-01"] * 2


async def test_turns_that_are_refused_at_once_are_all_answered(
    tmp_path: Path, sandboxes: SandboxService, model: ModelServer
) -> None:
    refused = Fault(400, error={"message": "'max_tokens' is not supported; use 'max_completion_tokens'."})
    both = [Held(refused), Held(refused)]
    model.script[:] = [*both, "One.", "Two."]
    async with autogen_agent(model.url) as agent, running_bot(tmp_path, sandboxes, agent=agent) as bot:
        for number, thread in enumerate("ab", 1):
            await bot.say("hello", thread)
            await model.asked(number)
        for one in both:
            one.release()

        assert [await bot.platform.ended(number) for number in "12"] == ["done", "done"]


async def test_a_bound_that_is_too_large_is_not_taken_for_its_name(bot: Bot, model: ModelServer) -> None:
    refusal = "'max_tokens' or 'max_completion_tokens' is too large: 500"
    model.script[:] = [Fault(400, error={"message": refusal, "type": "BadRequestError"})]

    assert await bot.ask("hello") == "failed"

    assert len(model.requests) == 1
    assert bot.platform.text() == "The model server refused the request (BadRequestError)."


async def test_a_turn_that_takes_too_long_is_ended_with_its_limit(
    tmp_path: Path, sandboxes: SandboxService, model: ModelServer, agent: Agent
) -> None:
    model.script[:] = [python("import time\nwhile True: time.sleep(0.01)")]
    async with running_bot(tmp_path, sandboxes, agent=agent, turn_seconds=1) as bot:
        assert await bot.ask("for ever") == "failed"

        assert "one request may take 1 s" in bot.platform.text()


async def test_text_that_utf_8_cannot_carry_breaks_nothing(bot: Bot, model: ModelServer) -> None:
    model.script[:] = [python("x = '\ud800'\nraise ValueError(x)", "So \ud800 be it."), "Done \udfff.", "Still here."]

    assert await bot.ask("break") == "done"
    assert await bot.ask("again") == "done"

    assert "Still here." in bot.platform.text()
    bot.platform.text().encode()


def said(model: ModelServer) -> str:
    """What the server was asked last."""
    return str(model.requests[-1]["messages"][-1]["content"])
