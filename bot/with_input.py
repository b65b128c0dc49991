"""Code to run again with what it reads and what it is called with; pure."""

from __future__ import annotations

import shlex

from bot.errors import Refused
from bot.markdown import fenced

INPUT_CHARS = 4_000
LANGUAGES = ("python", "bash", "sh", "shell")

_PYTHON = r"""import builtins, io, sys
sys.argv = {argv!r}
sys.stdin = io.StringIO({text!r})
def input(prompt=''):
    print(prompt, end='')
    line = sys.stdin.readline()
    if not line:
        raise EOFError('the input that was given has ended')
    return line.rstrip('\n')
builtins.input = input
{code}"""


def with_input(language: str, code: str, text: str, arguments: str) -> str:
    """A request to run `code` with `text` as its standard input and `arguments` as a shell would split them.

    Raises Refused.
    """
    try:
        words = shlex.split(arguments)
    except ValueError as error:
        raise Refused(f"The arguments are not as a shell writes them: {error}.") from None
    if language == "python":
        made = fenced(_PYTHON.format(argv=["script.py", *words], text=text, code=code), "python")
    else:
        made = fenced(_shell(code, text, words), "bash")
    return f"Run this code as it is:\n{made}"


def _shell(code: str, text: str, words: list[str]) -> str:
    mark = "END_OF_INPUT"
    while mark in text:
        mark += "_"
    line = f"set -- {shlex.join(words)}\n" if words else ""
    return f"{line}{{\n{code}\n}} <<'{mark}'\n{text.rstrip(chr(10))}\n{mark}"
