"""What IPython understands beyond Python works in a cell, and so do the words that an extension adds."""

from __future__ import annotations

import pytest

from sandbox import Sandbox
from tests.contracts.runs import outcome, run, text

# not under gVisor: none of it is the container's doing, and time is short there
ENGINES = ["process", pytest.param("docker", marks=pytest.mark.docker)]
pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.parametrize("engine", ENGINES, indirect=True, scope="module"),
]


@pytest.mark.parametrize(
    ("code", "printed"),
    [
        ("!echo shell", "shell\n"),
        ("x = !echo taken\nprint(x[0])", "taken\n"),
        ("if True:\n    !echo deep", "deep\n"),
        ("%env TOLD=yes", "env: TOLD=yes\n"),
        ("x = %env HOME\nprint(x[0])", "/\n"),
        ("%%bash\necho cell", "cell\n"),
        ("def f(*a): print(a)\n,f a b", "('a', 'b')\n"),
        ("def f(*a): print(a)\n;f a b", "('a b',)\n"),
        ("def f(*a): print(a)\n/f 1,2", "(1, 2)\n"),
        (">>> print(1)\n... ", "1\n"),
        ("\n    x = 7\n    print(x)", "7\n"),
        ("print('100%', 'a?', 'b!')", "100% a? b!\n"),
        ("alias_magic there pwd", "Created `%there` as an alias for `%pwd`.\n"),
    ],
)
async def test_the_words_of_ipython_are_understood(sandbox: Sandbox, code: str, printed: str) -> None:
    events = await run(sandbox, code)

    assert text(events).replace("\r\n", "\n") == printed  # a !command has a terminal of its own
    assert outcome(events).status == "ok"


async def test_help_is_shown(sandbox: Sandbox) -> None:
    events = await run(sandbox, "len?")

    assert "Return the number of items in a container" in text(events)


async def test_a_transformer_that_a_cell_adds_is_heeded(sandbox: Sandbox) -> None:
    await run(
        sandbox,
        "ip = get_ipython()\n"
        "def louder(lines): return [line.replace('quiet', 'loud') for line in lines]\n"
        "ip.input_transformers_cleanup.append(louder)",
    )

    printed = text(await run(sandbox, "print('quiet')"))
    await run(sandbox, "ip.input_transformers_cleanup.clear()")

    assert printed == "loud\n"
