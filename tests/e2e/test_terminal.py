"""`threadbox chat` as a person at a terminal has it, with real containers."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.model_server import Fault, Held, Item, ModelServer, python
from tests.e2e.terminal import CTRL_C, CTRL_D, terminal
from tests.e2e.threadbox import containers

pytestmark = [pytest.mark.docker, pytest.mark.usefixtures("image")]

PLOT = "import matplotlib.pyplot as plt\nrows = 3\nprint('rows:', rows)\nplt.plot([1, 4, 9])\nplt.show()"
SPIN = "print('spinning', end='', flush=True)\nwhile True: pass"


def configured(model: ModelServer) -> dict[str, str]:
    return {"OPENAI_BASE_URL": model.url, "THREADBOX_MODEL": "scripted"}


def test_ctrl_c_stops_what_runs_and_the_conversation_goes_on_until_it_is_pressed_at_the_prompt(
    tmp_path: Path, model: ModelServer
) -> None:
    model.script += [python(PLOT, "Plotting."), "That is the plot.", python(SPIN), python("print(rows * 14)"), "So 42."]

    with terminal(tmp_path, "chat", **configured(model)) as screen:
        told = screen.wait_for("> ")
        assert "Ctrl-C stops it" in told
        screen.type("plot")
        for text in ("Plotting.", "│ plt.show()", "└─", "rows: 3", "threadbox-files/figure-1.png", "That is the plot."):
            screen.wait_for(text)
        screen.wait_for("> ")
        screen.type("spin")
        screen.wait_for("└─")
        screen.wait_for("spinning")  # the line has not ended
        screen.press(CTRL_C)
        screen.wait_for("Stopped after", seconds=8)
        screen.wait_for("> ")
        screen.type("and now?")
        screen.wait_for("42")
        screen.wait_for("So 42.")
        screen.wait_for("> ")
        screen.press(b"half a line")
        screen.wait_for("half a line")
        screen.press(CTRL_C)
        code = screen.process.wait(60)
        echoes = screen.echoes

    assert code == 0
    assert echoes
    assert (tmp_path / "threadbox-files" / "figure-1.png").read_bytes().startswith(b"\x89PNG")
    assert containers(tmp_path) == []


def test_ctrl_c_stops_a_model_that_says_nothing(tmp_path: Path, model: ModelServer) -> None:
    def answer(body: dict[str, Any]) -> Item:
        return "Here I am." if "again" in str(body["messages"][-1]) else Held()

    model.script += [answer, answer]

    with terminal(tmp_path, "chat", **configured(model)) as screen:
        screen.wait_for("> ")
        screen.type("hello")
        screen.wait_for("working")
        screen.press(CTRL_C)
        screen.wait_for("Stopped.", seconds=8)
        screen.wait_for("> ")
        screen.type("hello again")
        screen.wait_for("Here I am.")
        screen.wait_for("> ")
        screen.press(CTRL_D)

        assert screen.end() == 0


@pytest.mark.parametrize("how", ["ctrl-c twice", "terminated"])
def test_who_leaves_amid_a_turn_finds_the_variables_again_and_nothing_runs_on(
    tmp_path: Path, model: ModelServer, how: str
) -> None:
    model.script += [python(f"x = 41\n{SPIN}"), python("print(x + 1)"), "Found."]

    with terminal(tmp_path, "chat", **configured(model)) as screen:
        screen.wait_for("> ")
        screen.type("spin")
        screen.wait_for("└─")
        screen.wait_for("spinning")
        if how == "terminated":
            screen.process.send_signal(signal.SIGTERM)
        else:
            screen.press(CTRL_C)
            screen.wait_for("Ctrl-C again leaves")
            screen.press(CTRL_C)
        assert screen.end() in (0, 130)
    left = containers(tmp_path)
    with terminal(tmp_path, "chat", **configured(model)) as again:
        again.wait_for("> ")
        again.type("x?")
        again.wait_for("└─")
        again.wait_for("42")
        again.wait_for("> ")

    assert left == []
    assert "Traceback (most recent call last):\r\n  File" not in screen.shown
    assert "warning" not in screen.shown


def test_a_failure_is_said_once_and_no_log_stands_between(tmp_path: Path, model: ModelServer) -> None:
    model.script += [Fault(401)]

    with terminal(tmp_path, "chat", **configured(model)) as screen:
        screen.wait_for("> ")
        screen.type("hello")
        said = screen.wait_for("did not accept the key")

    assert "model.failed" not in said


def test_what_failed_is_asked_again_by_a_word(tmp_path: Path, model: ModelServer) -> None:
    model.script += [Fault(401), "Here I am."]

    with terminal(tmp_path, "chat", **configured(model)) as screen:
        screen.wait_for("> ")
        screen.type("hello")
        screen.wait_for("did not accept the key")
        screen.wait_for("Type retry to try again.")
        screen.wait_for("> ")
        screen.type("retry")
        screen.wait_for("Here I am.")
        screen.wait_for("> ")
        screen.type("retry")
        screen.wait_for("nothing to try again")


def test_a_code_block_may_be_typed_in_lines(tmp_path: Path) -> None:
    with terminal(tmp_path, "chat") as screen:
        screen.wait_for("> ")
        for line in ("```python", "for i in range(2):", "    print('line', i)"):
            screen.type(line)
            screen.wait_for("... ")
        screen.type("```")
        screen.wait_for("line 0\r\nline 1\r\n")
        screen.wait_for("> ")


def test_ctrl_c_throws_a_half_typed_code_block_away_and_what_is_typed_next_is_heard(tmp_path: Path) -> None:
    with terminal(tmp_path, "chat") as screen:
        screen.wait_for("> ")
        for line in ("```python", "print('thrown', 'away')"):
            screen.type(line)
            screen.wait_for("... ")
        screen.press(b"print('half")
        screen.wait_for("print('half")
        screen.press(CTRL_C)
        screen.wait_for("> ")
        screen.type("```print('next', 'line')```")
        said = screen.wait_for("next line\r\n")
        screen.wait_for("> ")
        screen.press(CTRL_C)
        code = screen.end()

    assert code == 0
    assert "thrown away" not in said
