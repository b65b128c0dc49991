from __future__ import annotations

from autogen_core import FunctionCall
from autogen_core.models import (
    AssistantMessage,
    FunctionExecutionResult,
    FunctionExecutionResultMessage,
    LLMMessage,
    UserMessage,
)
from hypothesis import given
from hypothesis import strategies as st

from bot.agent.context import fitting, groups, mended, tokens
from bot.agent.durable import call_in_text


def user(text: str) -> UserMessage:
    return UserMessage(content=text, source="user")


def call(number: int) -> AssistantMessage:
    return AssistantMessage(content=[FunctionCall(id=f"c{number}", name="python", arguments="{}")], source="bot")


def result(number: int, size: int = 10) -> FunctionExecutionResultMessage:
    content = FunctionExecutionResult(content="x" * size, name="python", call_id=f"c{number}", is_error=False)
    return FunctionExecutionResultMessage(content=[content])


def answer(text: str) -> AssistantMessage:
    return AssistantMessage(content=text, source="bot")


@given(st.lists(st.integers(0, 12), max_size=12), st.booleans(), st.integers(10, 3000))
def test_a_call_is_never_parted_from_its_result_nor_the_last_request_lost(
    calls_of_turns: list[int], answered: bool, bound: int
) -> None:
    messages: list[LLMMessage] = []
    for turn, count in enumerate(calls_of_turns):
        messages.append(user(f"question {turn} " * 5))
        for number in range(count):
            messages += [call(turn * 100 + number), result(turn * 100 + number, 100)]
        if answered or turn < len(calls_of_turns) - 1:
            messages.append(answer("so it is"))

    kept = fitting(messages, bound)

    calls = {
        item.id
        for m in kept
        if isinstance(m, AssistantMessage) and not isinstance(m.content, str)
        for item in m.content
    }
    results = {item.call_id for m in kept if isinstance(m, FunctionExecutionResultMessage) for item in m.content}
    asked = [m for m in messages if isinstance(m, UserMessage)][-1:]
    assert calls == results
    assert kept[:1] == [m for m in kept if isinstance(m, UserMessage)][:1]
    assert [m for m in kept if isinstance(m, UserMessage)][-1:] == asked
    places = {id(m): at for at, m in enumerate(messages)}
    assert [places[id(m)] for m in kept] == sorted({places[id(m)] for m in kept})
    without = [m for m in kept if m not in asked]
    assert messages[len(messages) - len(kept) :] == kept or messages[len(messages) - len(without) :] == without
    assert sum(map(tokens, kept)) <= max(bound, sum(map(tokens, [*asked, *groups(messages)[-1]])) if messages else 0)


def test_a_turn_of_many_long_results_keeps_its_request_and_its_newest_results() -> None:
    messages: list[LLMMessage] = [user("old"), answer("yes"), user("sum up the year")]
    for number in range(8):
        messages += [call(number), result(number, 16_000)]

    kept = fitting(messages, 24_000)

    assert kept == [user("sum up the year"), *messages[-10:]]
    assert fitting([*kept, answer("done")], 24_000)[0] == user("sum up the year")


def test_words_that_came_during_a_turn_do_not_displace_its_request() -> None:
    messages: list[LLMMessage] = [user("old"), answer("yes"), user("never drop rows"), call(0), result(0, 16_000)]
    messages += [user("and make it blue")]
    for number in range(1, 8):
        messages += [call(number), result(number, 16_000)]

    kept = fitting(messages, 24_000)

    assert kept == [user("never drop rows"), user("and make it blue"), *messages[-10:]]


def test_words_that_are_too_many_themselves_are_dropped_from_the_oldest_on() -> None:
    messages: list[LLMMessage] = [user("a" * 400), user("b" * 400), user("c" * 400)]

    assert fitting(messages, 250) == messages[1:]


def test_the_newest_group_is_kept_whatever_its_size() -> None:
    assert fitting([user("a"), user("b" * 10_000)], 10) == [user("b" * 10_000)]


def test_a_call_without_a_result_gets_one() -> None:
    whole = mended([user("a"), call(1), user("b")])

    assert [type(m).__name__ for m in whole] == [
        "UserMessage", "AssistantMessage", "FunctionExecutionResultMessage", "UserMessage",
    ]  # fmt: skip
    assert mended(whole) == whole


def test_groups_keep_a_call_with_its_results() -> None:
    assert [len(group) for group in groups([user("a"), call(1), result(1), answer("b")])] == [1, 2, 1]


def test_a_call_written_as_text_is_understood() -> None:
    text = '```json\n{"name": "python", "arguments": {"code": "print(1)"}}\n```'

    found = call_in_text(text, {"python"})

    assert found is not None
    assert (found.name, found.arguments) == ("python", '{"code": "print(1)"}')
    assert call_in_text('{"name": "rm", "arguments": {}}', {"python"}) is None
    assert call_in_text("{not json}", {"python"}) is None
    assert call_in_text("The answer is {x}.", {"python"}) is None
