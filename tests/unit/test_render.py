from __future__ import annotations

import re

import pytest

from bot.codec import reply_from_json, reply_to_json
from bot.model import (
    Artifact,
    CellDone,
    CellOutput,
    CellResult,
    CellStarted,
    Code,
    Ended,
    File,
    Notice,
    Picture,
    Printed,
    Reply,
    Said,
    Text,
    TextDelta,
    TextDone,
    TurnEvent,
)
from bot.render import Transcript
from bot.text import cut_middle


def told(*events: TurnEvent) -> dict[int, Reply]:
    """The replies after these events, by part."""
    transcript = Transcript("t")
    return {reply.part: reply for event in events for reply in transcript.apply(event)}


PNG = Artifact(id="1", name="figure-1.png", mime="image/png", size=10)
CSV = Artifact(id="2", name="a.csv", mime="text/csv", size=10)


def test_words_cells_and_words_become_parts_in_order() -> None:
    replies = told(
        TextDelta(text="Let me "),
        TextDelta(text="see."),
        CellStarted(language="python", code="1"),
        CellOutput(text="4"),
        CellOutput(text="2\n"),
        CellDone(result=CellResult(status="ok", exit_code=0, output="42\n", shown=(PNG,), files=(CSV,))),
        TextDone(text="It is 42."),
        Ended(status="done"),
    )

    assert [reply.blocks for reply in replies.values()] == [
        (Text(markdown="Let me see."),),
        (Code(language="python", source="1"), Printed(text="42"), Picture(artifact=PNG), File(artifact=CSV)),
        (Text(markdown="It is 42."),),
    ]
    assert all(reply.final for reply in replies.values())


def test_a_cell_shows_its_output_while_it_runs() -> None:
    transcript = Transcript("t")
    transcript.apply(CellStarted(language="python", code="1"))

    (reply,) = transcript.apply(CellOutput(text="tick\n"))

    assert not reply.final
    assert reply.blocks[1] == Printed(text="tick\n")


def test_losses_and_ends_are_told_in_words() -> None:
    result = CellResult(status="timeout", exit_code=124, output="", duration_ms=60_000, variables_kept=False)

    replies = told(CellStarted(language="python", code="x"), CellDone(result=result), Ended(status="done"))

    texts = [block.text for block in replies[0].blocks if isinstance(block, Notice)]
    assert texts == ["Timed out after 60.0 s.", "All variables of this thread are lost; its files are kept."]


@pytest.mark.parametrize(
    ("message", "output", "words"),
    [
        ("", "hi", ["Exit code 3."]),  # a command that failed after it had printed
        ("", "", ["Exit code 3."]),
        ("No module", "Traceback: No module", []),
        ("No module", "", ["No module"]),
    ],
)
def test_code_that_failed_says_so_where_no_traceback_does(message: str, output: str, words: list[str]) -> None:
    result = CellResult(status="error", exit_code=3, output=output, message=message)

    replies = told(CellStarted(language="shell", code="x"), CellDone(result=result), Ended(status="done"))

    assert [block.text for block in replies[0].blocks if isinstance(block, Notice)] == words


def test_silent_code_is_said_to_be_silent() -> None:
    result = CellResult(status="ok", exit_code=0, output="\n")

    replies = told(CellStarted(language="python", code="x = 1"), CellDone(result=result), Ended(status="done"))

    assert replies[0].blocks[1:] == (Notice(text="No output."),)


def test_code_that_the_thread_sees_in_its_message_is_not_shown_again() -> None:
    (reply,) = Transcript("t").apply(CellStarted(language="python", code="1", known=True))

    assert reply.blocks == (Code(language="python", source="1", hidden=True),)


def test_a_lost_sandbox_does_not_claim_that_its_files_are_kept() -> None:
    result = CellResult(status="oom", exit_code=137, output="", variables_kept=False, sandbox_lost=True)

    replies = told(CellStarted(language="python", code="x"), CellDone(result=result), Ended(status="done"))

    texts = [block.text for block in replies[0].blocks if isinstance(block, Notice)]
    assert texts == [
        "Out of memory.",
        "The sandbox is gone, and with it what was not saved of the variables and files.",
    ]


def test_stop_is_told_once() -> None:
    stopped = CellResult(status="interrupted", exit_code=130, output="", duration_ms=1500)

    with_cell = told(CellStarted(language="python", code="x"), CellDone(result=stopped), Ended(status="stopped"))
    without = told(TextDelta(text="I think"), Ended(status="stopped"))

    assert list(with_cell) == [0]
    assert without[1].blocks == (Notice(text="Stopped.", level="warning"),)


def test_a_failure_keeps_what_was_said_and_offers_a_retry() -> None:
    transcript = Transcript("t")
    transcript.apply(TextDelta(text="I will"))

    replies = transcript.failure("No model.", can_retry=True)

    assert [(reply.part, reply.final, reply.actions) for reply in replies] == [(0, True, ()), (1, True, ("retry",))]


def test_a_cell_that_nobody_ended_is_closed() -> None:
    replies = told(CellStarted(language="python", code="x"), CellOutput(text="a"), Ended(status="stopped"))

    assert replies[0].final
    assert Notice(text="Interrupted.", level="warning") in replies[0].blocks


def test_replies_survive_the_database() -> None:
    blocks = (
        Text(markdown="a"),
        Code(language="python", source="b"),
        Printed(text="c", cut_bytes=3),
        Picture(artifact=PNG),
        File(artifact=CSV),
        Notice(text="d"),
    )
    reply = Reply(turn_id="t", part=3, blocks=blocks, final=True, actions=("retry",))

    assert reply_from_json("t", 3, reply_to_json(reply)) == reply


def test_a_line_of_our_own_closes_the_words_before_it() -> None:
    replies = told(TextDelta(text="So"), Said(text="New sandbox."), TextDone(text="Done."))

    assert [type(reply.blocks[0]) for reply in replies.values()] == [Text, Notice, Text]


def test_what_was_left_out_before_counts_in_the_line_where_it_was() -> None:
    whole = "x" * 100_000
    recorded, cut = cut_middle(whole, 24_000)

    replies = told(
        CellStarted(language="python", code="1"),
        CellDone(result=CellResult(status="ok", exit_code=0, output=recorded, cut_bytes=cut)),
    )

    printed = replies[0].blocks[1]
    assert isinstance(printed, Printed)
    said = re.search(r"\[… ([\d,]+) characters left out …\]", printed.text)
    assert said is not None
    kept = printed.text.count("x")
    assert abs(int(said[1].replace(",", "")) + kept - len(whole)) < 100
