"""Code that will not stop, ends its own interpreter, or leaves processes behind."""

from __future__ import annotations

import asyncio
import contextlib
import time

import docker
import pytest
from autogen_core import CancellationToken
from autogen_core.code_executor import CodeBlock

from sandbox import Output, RunEvent, Sandbox
from sandbox.autogen import SandboxCodeExecutor
from sandbox.engine import DockerEngine
from sandbox.errors import SandboxGone
from sandbox.limits import HOST_GRACE_SECONDS
from tests.hostile.conftest import start
from tests.hostile.runs import end_of, run, text_of, works

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]

DEAF = "import ctypes, signal\nfor number in range(1, 65):\n  try: signal.signal(number, signal.SIG_IGN)\n  except (OSError, ValueError): pass\n"
BLOCKED = "import ctypes, signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\n"
ROGUES = {
    "ignores": DEAF + "while True: pass",
    "blocks": BLOCKED + "ctypes.PyDLL(None).pause()",
    "swallows": "import time\nwhile True:\n  try: time.sleep(60)\n  except: pass",
    "numpy": "import numpy\nnumpy.convolve(numpy.ones(600_000), numpy.ones(600_000))",
}
HEEDFUL = {
    "thread": "import threading, time\nt = threading.Thread(target=time.sleep, args=(60,), daemon=True); t.start(); t.join()",
    "regex": "import re\nre.match('(a+)+$', 'a' * 40 + 'b')",
    "sleep": "import time\ntime.sleep(60)",
    "input": "import os\nos.read(os.pipe()[0], 1)",
}


@pytest.mark.parametrize("code", ROGUES.values(), ids=ROGUES)
async def test_code_that_heeds_no_signal_is_killed_and_the_next_cell_works(sandbox: Sandbox, code: str) -> None:
    """Cases 14, 15, 16, 22."""
    await run(sandbox, "import ctypes, numpy, signal")

    _, end = await run(sandbox, code, timeout=0.6)

    assert (end.status, end.exit_code, end.variables_kept, end.sandbox_lost) == ("timeout", 124, False, False)
    assert end.duration_ms < 8000
    assert await works(sandbox)


@pytest.mark.parametrize("code", HEEDFUL.values(), ids=HEEDFUL)
async def test_code_that_waits_is_interrupted_and_keeps_its_variables(sandbox: Sandbox, code: str) -> None:
    """Cases 16, 22."""
    await run(sandbox, "kept = 1")

    _, end = await run(sandbox, code, timeout=0.3)

    assert (end.status, end.exit_code, end.variables_kept) == ("timeout", 124, True)
    assert (await run(sandbox, "print(kept)"))[0] == "1\n"


async def test_a_shell_command_that_ignores_sigterm_and_sigint_is_killed_and_the_variables_stay(
    sandbox: Sandbox,
) -> None:
    """Cases 14, 22."""
    await run(sandbox, "kept = 1")

    _, end = await run(sandbox, "trap '' TERM INT HUP QUIT; while :; do :; done", "bash", timeout=0.3)

    assert (end.status, end.exit_code, end.variables_kept) == ("timeout", 124, True)
    assert (await run(sandbox, "print(kept)"))[0] == "1\n"


DAEMONS = (
    "setsid sleep 300 & setsid setsid sleep 301 & (setsid bash -c 'trap \"\" INT TERM; sleep 302; sleep 303' &) ; "
)
COMET = """
import os, signal
for number in (1, 2, 15): signal.signal(number, signal.SIG_IGN)
def fork():
    try: return os.fork()
    except OSError: return 1  # those before took every place
for _ in range(30):
    if not fork():
        os.setsid()
        while True:
            try:
                if os.fork(): os._exit(0)
            except OSError: pass
signal.pause()
"""


WAIT_FOR_OTHERS = """
import os, time
def others():
    return [name for name in os.listdir('/proc') if name.isdigit() and int(name) not in (1, os.getpid())]
until = time.monotonic() + 3
while others() and time.monotonic() < until:
    time.sleep(0.02)
print(others())
"""


@pytest.mark.parametrize(
    ("code", "language"),
    [
        (DAEMONS + "sleep 304", "bash"),
        (f"import os\nos.system({DAEMONS!r})\nwhile True: pass", "python"),
    ],
    ids=["shell", "cell"],
)
async def test_all_that_a_run_started_dies_with_its_timeout(own: Sandbox, code: str, language: str) -> None:
    """Case 17: a killed process may take a moment to go."""
    await run(own, code, language, timeout=0.5)

    text, _ = await run(own, WAIT_FOR_OTHERS)

    assert text == "[]\n"


async def test_processes_that_fork_and_end_faster_than_one_can_look_die_with_the_timeout(own: Sandbox) -> None:
    """Case 17: whether one gets away is chance, so it is tried several times."""
    comet = f"exec python3 -S -c '{COMET.replace(chr(39), chr(34))}'"

    for _ in range(4):
        await run(own, comet, "bash", timeout=0.5)

        text, _ = await run(own, WAIT_FOR_OTHERS)
        assert text == "[]\n"


async def test_a_thousand_orphans_are_reaped_and_take_no_place(sandbox: Sandbox) -> None:
    """Case 18."""
    await run(sandbox, "for i in $(seq 1000); do (true &) ; done", "bash")

    text, _ = await run(sandbox, "grep -l '^State:.Z' /proc/[0-9]*/status | wc -l", "bash")
    _, crowd = await run(sandbox, "for i in $(seq 100); do sleep 10 & done; kill $(jobs -p)", "bash")
    assert int(text) <= 1
    assert crowd.status == "ok"


@pytest.mark.parametrize(
    ("code", "exit_code", "words"),
    [
        ("import os; os._exit(7)", 7, "exited with code 7"),
        ("import os; os.abort()", 134, "SIGABRT"),
        ("import ctypes; ctypes.string_at(0)", 139, "SIGSEGV"),
        ("import os; os.kill(os.getpid(), 9)", 137, "SIGKILL"),
        ("import os; os.execv('/bin/false', ['false'])", 1, "exited with code 1"),
        (
            "import os, threading, time\nthreading.Thread(target=os._exit, args=(5,)).start()\ntime.sleep(9)",
            5,
            "code 5",
        ),
    ],
)
async def test_a_dead_interpreter_is_told_and_replaced(sandbox: Sandbox, code: str, exit_code: int, words: str) -> None:
    """Case 20."""
    _, end = await run(sandbox, code)

    assert (end.status, end.exit_code, end.variables_kept) == ("crashed", exit_code, False)
    assert words in end.error_message
    assert await works(sandbox)


@pytest.mark.parametrize(
    "code",
    [
        "import sys; sys.exit(3)",
        "raise SystemExit(3)",
        "import os\nif os.fork() == 0: os._exit(9)\nos.wait()\nraise SystemExit(3)",
    ],
)
async def test_leaving_politely_keeps_the_variables(sandbox: Sandbox, code: str) -> None:
    """Case 20."""
    await run(sandbox, "kept = 1")

    _, end = await run(sandbox, code)

    assert (end.status, end.exit_code, end.variables_kept) == ("error", 3, True)
    assert (await run(sandbox, "print(kept)"))[0] == "1\n"


@pytest.mark.parametrize("code", ["exit(3)\nprint('never')", "quit(3)\nprint('never')"])
async def test_the_words_for_leaving_are_those_of_python(sandbox: Sandbox, code: str) -> None:
    """Case 20."""
    text, end = await run(sandbox, code)

    assert (text, end.exit_code, end.variables_kept) == ("", 3, True)


async def test_a_forked_child_that_reaches_the_end_of_the_cell_does_not_answer_for_it(sandbox: Sandbox) -> None:
    """Case 20."""
    text, end = await run(
        sandbox, "import os\npid = os.fork()\nif pid: os.waitpid(pid, 0)\nprint('child' if pid == 0 else 'parent')"
    )

    assert (text, end.status) == ("child\nparent\n", "ok")
    assert await works(sandbox)


async def test_there_is_nothing_to_read_on_standard_input(sandbox: Sandbox) -> None:
    """Case 21."""
    text, _ = await run(sandbox, "import os; print(os.read(0, 100))")
    shell, _ = await run(sandbox, "cat; echo end", "bash")

    assert (text, shell) == ("b''\n", "end\n")


@pytest.mark.parametrize(
    "code",
    [
        "import os\nos.closerange(0, 1024)",
        "import os\nos.closerange(3, 1024)",
        "import os\nfor fd in range(3, 50):\n  try: os.dup2(0, fd)\n  except OSError: pass",
        "import os\nfor fd in range(3, 50):\n  try: os.write(fd, os.urandom(5000))\n  except OSError: pass",
        "import os, socket\nfor fd in range(3, 50):\n  try: socket.socket(fileno=os.dup(fd)).shutdown(socket.SHUT_WR)\n  except OSError: pass",
    ],
    ids=["all", "ours", "over", "noise", "shutdown"],
)  # fmt: skip
async def test_spoiling_our_descriptors_hurts_only_its_own_variables(own: Sandbox, code: str) -> None:
    """Case 21."""
    _, end = await run(own, code, timeout=2)

    assert not end.sandbox_lost
    assert await works(own)


@pytest.mark.parametrize(
    "code",
    [
        "import os; os.close(1)",
        "import sys; sys.stdout.close()",
        "import os; n = os.dup2(os.open('log', os.O_WRONLY | os.O_CREAT), 1)",
    ],
)
async def test_a_cell_that_closed_its_output_closed_no_later_cells(own: Sandbox, code: str) -> None:
    """Case 21."""
    await run(own, code)

    assert await works(own)


async def test_output_that_a_cell_made_non_blocking_blocks_again_for_the_next(own: Sandbox) -> None:
    """Case 21."""
    await run(own, "import os; os.set_blocking(1, False)")

    text, _ = await run(own, "print(os.get_blocking(1))")

    assert text == "True\n"


async def test_a_container_killed_under_a_run_is_told_as_lost(engine: DockerEngine) -> None:
    """Case 23."""
    doomed = await start(engine)
    events: list[RunEvent] = []
    with contextlib.closing(docker.from_env()) as client:
        async for event in doomed.run("print(1)\nwhile True: pass"):
            events.append(event)
            if isinstance(event, Output):
                await asyncio.to_thread(client.api.kill, doomed.container_id)

    end = end_of(events)
    assert text_of(events) == "1\n"
    assert (end.status, end.sandbox_lost, end.variables_kept) == ("lost", True, False)
    assert end.error_message == "The sandbox ended while the code ran."
    assert doomed.container_id not in [container.container_id for container in await engine.containers()]
    with pytest.raises(SandboxGone):
        await run(doomed, "1")


@pytest.mark.parametrize("code", ["while True: pass", ROGUES["ignores"]], ids=["heeds", "ignores"])
async def test_a_cancelled_token_ends_even_code_that_ignores_it_and_leaves_the_sandbox(image: str, code: str) -> None:
    """Case 24; that the conversation stays valid is a test of the bot's turns."""
    async with SandboxCodeExecutor(image=image, timeout=20) as executor:
        await executor.execute_code_blocks([CodeBlock(language="python", code="kept = 1")], CancellationToken())
        token = CancellationToken()
        cancelled: list[float] = []
        asyncio.get_running_loop().call_later(0.4, lambda: (cancelled.append(time.monotonic()), token.cancel()))

        result = await executor.execute_code_blocks([CodeBlock(language="python", code=code)], token)

        assert (result.exit_code, result.output) == (1, "Code execution was cancelled.")
        assert time.monotonic() - cancelled[0] < 2 + HOST_GRACE_SECONDS  # beyond that the host removes the sandbox
        after = [CodeBlock(language="python", code="print(6 * 7)")]
        assert (await executor.execute_code_blocks(after, CancellationToken())).output == "42\n"
