"""Code with what it reads and is called with, run by the real interpreters."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bot.errors import Refused
from bot.text import code_blocks
from bot.with_input import with_input

NASTY = 'it\'s {braces} \\n "quotes" END_OF_INPUT\nsecond `line` $HOME'


def run(language: str, code: str, text: str, arguments: str) -> str:
    block = code_blocks(with_input(language, code, text, arguments))[0]
    command = [sys.executable, "-c"] if block.language == "python" else ["bash", "-c"]
    return subprocess.run([*command, block.code], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("text", ["", "one\ntwo\n", NASTY])
def test_python_reads_its_input_and_its_arguments(text: str) -> None:
    code = "import sys\nprint(sys.argv[1:])\ntry:\n    while True: print('>' + input())\nexcept EOFError: print('end')"

    shown = run("python", code, text, "a 'b c'")

    assert shown == "['a', 'b c']\n" + "".join(f">{line}\n" for line in text.splitlines()) + "end\n"


@pytest.mark.parametrize("language", ["bash", "sh", "shell"])
def test_a_shell_reads_its_input_and_its_arguments(language: str) -> None:
    assert run(language, 'echo "$2"; cat', NASTY, "a 'b c'") == f"b c\n{NASTY}\n"


def test_code_that_holds_a_fence_stays_whole() -> None:
    assert run("python", "print('''```''')", "", "") == "```\n"


def test_arguments_that_no_shell_would_take_are_refused() -> None:
    with pytest.raises(Refused, match="as a shell writes them"):
        with_input("python", "print(1)", "", "it's")
