"""What stands on a terminal while replies grow, and what a script is told."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapters.terminal import JsonLines, Screen
from adapters.terminal.outbound import Kept
from adapters.terminal.screen import ERASE, WORKING
from bot.model import (
    Artifact,
    Block,
    CellDone,
    CellOutput,
    CellResult,
    CellStarted,
    Code,
    Picture,
    Printed,
    Reply,
    Text,
)
from bot.render import Transcript
from tests.doubles.replies import replies

CODE = Code(language="python", source="run()")
FRAME = "┌─ python\n│ run()\n└─\n"
PNG = Artifact(id="a" * 32, name="plot.png", mime="image/png", size=10)
pieces = st.lists(
    st.text(alphabet="ab \n\t", max_size=6) | st.sampled_from(["\r", "\r\n", "\x1b[31m", "\x1b[2J", "\x07"])
)


def seen(written: str) -> str:
    """What a terminal shows of it; nothing may go farther up than the line that it is in."""
    shown = ""
    for number, part in enumerate(written.split(ERASE)):
        shown = (shown[: shown.rfind("\n") + 1] if number else "") + part
    assert "\r" not in shown
    assert "\x1b" not in shown
    return shown


def reply(*blocks: Block, final: bool = False, part: int = 0) -> Reply:
    return Reply(turn_id="t", part=part, blocks=blocks, final=final)


def shown(*forms: Reply, columns: int | None = 80) -> str:
    """What was written of a reply's forms."""
    stream = io.StringIO()
    screen = Screen(stream, None if columns is None else lambda: columns)
    for form in forms:
        screen.show(form, {})
    screen.working(False)
    return stream.getvalue()


def run(*printed: str) -> list[Reply]:
    """The forms of a cell's reply, as the bot makes them."""
    transcript = Transcript("t")
    forms = transcript.apply(CellStarted(language="python", code="run()"))
    for text in printed:
        forms += transcript.apply(CellOutput(text=text))
    result = CellResult(status="ok", exit_code=0, output="".join(printed))
    return forms + transcript.apply(CellDone(result=result))


@given(pieces)
@example(["\n", "a", "\r", " "])
def test_however_output_comes_the_screen_shows_at_the_end_what_one_whole_reply_would(printed: list[str]) -> None:
    grown, whole = shown(*run(*printed), columns=10_000), shown(*run("".join(printed))[-1:])

    assert seen(grown).rstrip("\n") == seen(whole).rstrip("\n")


@given(st.lists(st.text(alphabet="ab \n", max_size=6)))
def test_where_lines_cannot_be_written_anew_nothing_is_written_twice(printed: list[str]) -> None:
    assert shown(*run(*printed), columns=None) == shown(*run("".join(printed))[-1:], columns=None)


@given(st.lists(replies, max_size=3))
def test_no_reply_can_move_the_cursor(forms: list[Reply]) -> None:
    seen(shown(*forms))


def test_what_a_program_printed_is_shown_when_it_comes() -> None:
    whole = reply(CODE, Printed(text="one\n"))
    half = reply(CODE, Printed(text="one\ntwo"))

    assert shown(whole) == FRAME + "one\n"
    assert shown(whole, half) == FRAME + "one\ntwo"
    assert shown(whole, half, columns=None) == FRAME + "one\n"


def test_a_line_that_is_written_anew_takes_the_place_of_the_old_unless_it_was_broken_at_the_edge() -> None:
    forms = [reply(CODE, Printed(text=text)) for text in ("10 per cent", "20 per cent")]

    assert seen(shown(*forms)) == FRAME + "20 per cent"
    assert seen(shown(*forms, columns=10)) == FRAME + "10 per cent\n20 per cent"


@pytest.mark.parametrize("columns", [80, None])
@pytest.mark.parametrize("count", [700, 1_000, pytest.param(5_000, marks=pytest.mark.thorough)])
def test_long_output_is_never_repeated(count: int, columns: int | None) -> None:
    printed = ["".join(f"line {first + number}\n" for number in range(20)) for first in range(0, count, 20)]
    lines = seen(shown(*run(*printed), columns=columns)).splitlines()

    numbered = [line for line in lines if line.startswith("line ")]
    assert numbered[0] == "line 0"
    assert numbered[-1] == f"line {count - 1}"
    assert len(numbered) == len(set(numbered))
    assert any("characters left out" in line for line in lines) == (len(numbered) < count)
    assert len(lines) - len(numbered) <= 6


def test_words_are_shown_as_they_come() -> None:
    forms = [reply(Text(markdown=text)) for text in ("Let", "Let me", "Let me think.")]

    assert shown(*forms, reply(Text(markdown="Let me think."), final=True)).startswith("Let me think.\n")


def test_more_is_said_to_come_until_it_has() -> None:
    stream = io.StringIO()
    screen = Screen(stream, lambda: 80)

    screen.working(True)
    assert seen(stream.getvalue()) == WORKING
    screen.show(reply(Text(markdown="Hello."), final=True), {})
    assert seen(stream.getvalue()) == f"Hello.\n{WORKING}"
    screen.working(False)
    assert seen(stream.getvalue()) == "Hello.\n"


def test_a_note_stands_on_a_line_of_its_own_and_output_goes_on_below() -> None:
    stream = io.StringIO()
    screen = Screen(stream, lambda: 80)
    screen.show(reply(CODE, Printed(text="half")), {})

    screen.note("Stopping.")
    screen.show(reply(CODE, Printed(text="half"), final=True), {})
    screen.show(reply(Text(markdown="Bye."), final=True, part=1), {})
    screen.working(False)

    assert seen(stream.getvalue()) == FRAME + "half\nStopping.\nBye.\n"


@pytest.mark.parametrize(
    ("kept", "words"),
    [
        (Kept(path="out/plot-2.png"), "[picture] out/plot-2.png (10 B)\n"),
        (Kept(problem="the disk is full"), "[picture] plot.png (10 B) could not be saved: the disk is full\n"),
    ],
)
def test_a_file_is_shown_with_where_it_is(kept: Kept, words: str) -> None:
    stream = io.StringIO()

    Screen(stream).show(reply(Picture(artifact=PNG), final=True), {PNG.id: kept})

    assert stream.getvalue() == words


def test_a_script_is_told_output_in_whole_lines_then_the_reply_its_files_and_the_end() -> None:
    stream = io.StringIO()
    lines = JsonLines(stream)

    for text in ("1", "1\n2", "1\n2\n3\n"):
        lines.show(reply(CODE, Printed(text=text)), {})
    lines.show(reply(CODE, Printed(text="1\n2\n3"), Picture(artifact=PNG), final=True), {PNG.id: Kept(path="o/p")})
    lines.end("done", 0, "")

    told: list[dict[str, Any]] = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["type"] for line in told] == ["output", "output", "reply", "file", "end"]
    assert [line["text"] for line in told[:2]] == ["1\n", "2\n3\n"]
    assert told[3] == {"type": "file", "part": 0, "name": "plot.png", "mime": "image/png", "size": 10, "path": "o/p"}
    last = told[2] | {"type": "end", "status": "done", "exit_code": 0, "text": ""}
    assert told[4] == last


def test_a_reader_that_has_gone_ends_nothing() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

        def fileno(self) -> int:
            return self.fd

        fd = -1

    with open("/dev/null", "w") as file:
        stream = Gone()
        stream.fd = file.fileno()
        Screen(stream).show(reply(Text(markdown="Hello."), final=True), {})
