"""How a supervisor and its interpreter come to be: started as in a container, or forked ready from the tests' template.

The other contracts are tried without Docker on what is forked; here both are held to the same.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from sandbox import Engine, Limits, Outcome, Output, Sandbox
from sandbox.blobs import Blobs
from sandbox.snapshot import Snapshots

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.parametrize(
        "engine",
        [
            "process",
            pytest.param("executed", marks=pytest.mark.thorough),
            pytest.param("docker", marks=pytest.mark.docker),
        ],
        indirect=True,
        scope="module",
    ),
]
LIMITS = Limits(timeout_seconds=20, interrupt_seconds=0.5)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox(engine: Engine) -> AsyncIterator[Sandbox]:
    sandbox = await Sandbox.start(engine, f"start-{os.urandom(4).hex()}", LIMITS)
    yield sandbox
    await sandbox.remove()


async def run(sandbox: Sandbox, code: str, language: str = "python") -> tuple[str, Outcome]:
    events = [event async for event in sandbox.run(code, language)]
    assert isinstance(events[-1], Outcome)
    return "".join(event.text for event in events if isinstance(event, Output)), events[-1]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("os.getcwd() == os.environ['HOME']", True),
        ("os.getsid(0) == os.getpgid(0) == os.getpid()", True),
        ("os.read(0, 1)", b""),
        ("sys.path[0]", ""),
        ("sys.argv", ["-c"]),
        ("__name__", "__main__"),
        ("signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL", True),
        ("signal.set_wakeup_fd(-1)", -1),
        ("threading.active_count()", 1),
        ("ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)", 1),  # may be dumped, unlike its supervisor
        ("os.environ['HTTPS_PROXY'].startswith('http://127.0.0.1:')", True),
    ],
)
async def test_an_interpreter_finds_itself_as_it_was_meant_to(sandbox: Sandbox, expression: str, value: object) -> None:
    code = f"import ctypes, os, signal, sys, threading\nprint(repr({expression}))"

    assert (await run(sandbox, code))[0] == f"{value!r}\n"


async def test_no_descriptor_but_its_own_is_open_in_an_interpreter(sandbox: Sandbox) -> None:
    """0 to 2, control, state, interrupt twice, two held back for the next cell, and that of the listed folder."""
    printed, _ = await run(sandbox, "import os\nprint(len(os.listdir('/proc/self/fd')))")

    assert printed == "10\n"


async def test_an_interrupt_ends_a_cell_and_keeps_the_variables(sandbox: Sandbox) -> None:
    await run(sandbox, "x = 41")
    events: list[object] = []
    async for event in sandbox.run("print('go')\nwhile True: pass"):
        events.append(event)
        if isinstance(event, Output):
            sandbox.interrupt()

    assert isinstance(events[-1], Outcome) and events[-1].status == "interrupted"
    assert (await run(sandbox, "print(x + 1)"))[0] == "42\n"


async def test_an_interpreter_that_ended_is_followed_by_a_new_one(sandbox: Sandbox) -> None:
    await run(sandbox, "x = 41")

    _, end = await run(sandbox, "import os; os._exit(7)")

    assert (end.status, end.exit_code, end.variables_kept) == ("crashed", 7, False)
    assert (await run(sandbox, "print('x' in globals())"))[0] == "False\n"


async def test_what_was_saved_in_one_comes_back_into_another(engine: Engine, sandbox: Sandbox) -> None:
    snapshots = Snapshots(Blobs.at("memory://"))
    await run(sandbox, "def double(n): return 2 * n\nopen('kept', 'w').write('x')")
    saved, _ = await snapshots.save(sandbox, "a")
    second = await Sandbox.start(engine, f"back-{os.urandom(4).hex()}", LIMITS)

    await snapshots.restore(second, "a", saved)

    assert (await run(second, "print(double(21), open('kept').read())"))[0] == "42 x\n"
    assert (await run(second, "cat kept", "bash"))[0] == "x"
    await second.remove()
