"""The command as pip installed it: the other tests fork what this one execs (tests/doubles/command.py)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.doubles.command import installed
from tests.doubles.model_server import ModelServer, python
from tests.e2e.threadbox import environment, threadbox

pytestmark = [pytest.mark.docker, pytest.mark.usefixtures("image")]


def configured(model: ModelServer) -> dict[str, str]:
    return {"OPENAI_BASE_URL": model.url, "THREADBOX_MODEL": "scripted"}


def test_it_serves_until_it_is_told_to_stop(tmp_path: Path, model: ModelServer) -> None:
    model.script += [python("x = 21\nprint('kept', x)"), "Kept.", python("print('twice', x * 2)"), "Done."]

    with threadbox(tmp_path, installed, **configured(model)) as bot:
        thread = bot.begin("keep 21")
        bot.wait_for(thread, "<samp>kept 21</samp>")
        bot.post(f"{thread}/messages", text="and twice that?")
        bot.wait_for(thread, "<samp>twice 42</samp>")

    assert bot.process.returncode == 0


def test_it_answers_once(tmp_path: Path, model: ModelServer) -> None:
    model.script += [python("print(6 * 7)"), "It is 42."]

    with (tmp_path / "printed").open("wb") as printed, open(os.devnull, "r+b") as null:
        streams = [null.fileno(), printed.fileno(), null.fileno()]
        code = installed(["ask", "?"], environment(tmp_path, **configured(model)), tmp_path, streams).wait(60)

    assert code == 0
    assert {"42", "It is 42."} <= set((tmp_path / "printed").read_text().splitlines())
