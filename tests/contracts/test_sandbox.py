"""What every sandbox does, whichever engine keeps it: Docker, or a process in tests without Docker."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

from sandbox import Engine, Output, RunEvent, Sandbox
from sandbox.errors import SandboxBusy, SandboxError, SandboxGone, UnsupportedLanguage
from tests.contracts.runs import outcome, run, text

# one loop for the module: the tests share a sandbox, and only what a test breaks is made anew
pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_variables_last_from_cell_to_cell(sandbox: Sandbox) -> None:
    await run(sandbox, "x = 6")

    events = await run(sandbox, "print(x * 7)")

    assert text(events) == "42\n"
    assert outcome(events).status == "ok"
    assert outcome(events).exit_code == 0


async def test_the_value_of_the_last_line_is_shown(sandbox: Sandbox) -> None:
    assert text(await run(sandbox, "1 + 1")) == "2\n"


async def test_output_comes_while_the_code_still_runs(sandbox: Sandbox) -> None:
    code = "import time\nprint('first')\ntime.sleep(1)\nprint('second')"
    started = time.monotonic()
    times = [time.monotonic() - started async for event in sandbox.run(code) if isinstance(event, Output)]

    assert times[-1] - times[0] > 0.5


async def test_an_error_is_an_outcome_with_its_name_and_traceback(sandbox: Sandbox) -> None:
    events = await run(sandbox, "1 / 0")

    assert outcome(events).status == "error"
    assert outcome(events).exit_code == 1
    assert outcome(events).error_name == "ZeroDivisionError"
    assert "ZeroDivisionError: division by zero" in text(events, "stderr")
    assert "kernel.py" not in text(events, "stderr")


async def test_exit_codes_of_sys_exit_and_bash_are_kept(sandbox: Sandbox) -> None:
    assert outcome(await run(sandbox, "import sys; sys.exit(3)")).exit_code == 3
    assert outcome(await run(sandbox, "exit 4", "bash")).exit_code == 4


async def test_bash_and_python_share_the_workspace(sandbox: Sandbox) -> None:
    await run(sandbox, "echo hello > a.txt", "bash")

    assert text(await run(sandbox, "print(open('a.txt').read())")) == "hello\n\n"


async def test_another_language_is_refused_by_name(sandbox: Sandbox) -> None:
    with pytest.raises(UnsupportedLanguage, match="ruby"):
        await run(sandbox, "puts 1", "ruby")


async def test_a_timeout_interrupts_and_keeps_the_variables(sandbox: Sandbox) -> None:
    await run(sandbox, "x = 1")

    end = outcome(await run(sandbox, "while True: pass", timeout=0.5))

    assert (end.status, end.exit_code, end.variables_kept) == ("timeout", 124, True)
    assert text(await run(sandbox, "print(x)")) == "1\n"


async def test_code_that_swallows_the_interrupt_is_killed_and_the_loss_is_told(sandbox: Sandbox) -> None:
    code = "import time\nwhile True:\n  try: time.sleep(9)\n  except BaseException: pass"

    end = outcome(await run(sandbox, code, timeout=0.5))

    assert (end.status, end.exit_code, end.variables_kept) == ("timeout", 124, False)
    assert outcome(await run(sandbox, "print(1)")).status == "ok"


async def test_a_shell_command_times_out_and_leaves_the_variables(sandbox: Sandbox) -> None:
    await run(sandbox, "x = 1")

    end = outcome(await run(sandbox, "trap '' INT; sleep 60 & wait; sleep 60", "bash", timeout=0.5))

    assert (end.status, end.exit_code, end.variables_kept) == ("timeout", 124, True)
    assert text(await run(sandbox, "print(x)")) == "1\n"


async def test_an_interrupt_ends_a_run_within_two_seconds(sandbox: Sandbox) -> None:
    events: list[RunEvent] = []
    started = time.monotonic()
    async for event in sandbox.run("print('go', flush=True)\nwhile True: pass"):
        events.append(event)
        if isinstance(event, Output):
            sandbox.interrupt()

    assert outcome(events).status == "interrupted"
    assert time.monotonic() - started < 3
    assert outcome(await run(sandbox, "1")).status == "ok"


async def test_closing_the_iterator_stops_the_code(sandbox: Sandbox) -> None:
    async with contextlib.aclosing(sandbox.run("print(1)\nwhile True: pass")) as events:
        async for _ in events:
            break

    assert not sandbox.is_running
    assert outcome(await run(sandbox, "2")).status == "ok"


async def test_cancelling_the_reader_stops_the_code(sandbox: Sandbox) -> None:
    task = asyncio.ensure_future(run(sandbox, "while True: pass"))
    await asyncio.sleep(0.3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert outcome(await run(sandbox, "2")).status == "ok"


async def test_a_late_interrupt_leaves_the_kernel_alone(sandbox: Sandbox) -> None:
    await run(sandbox, "x = 1")
    sandbox.interrupt()

    assert text(await run(sandbox, "print(x)")) == "1\n"


async def test_a_second_run_at_once_is_refused(sandbox: Sandbox) -> None:
    async with contextlib.aclosing(sandbox.run("print(1)\nimport time; time.sleep(5)")) as events:
        await anext(events)
        with pytest.raises(SandboxBusy):
            await run(sandbox, "2")


@pytest.mark.parametrize(
    ("code", "exit_code", "words"),
    [
        ("import os; os._exit(7)", 7, "exited with code 7"),
        ("import ctypes; ctypes.string_at(0)", 139, "SIGSEGV"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 137, "SIGKILL"),
    ],
)
async def test_a_dead_interpreter_is_told_and_replaced(sandbox: Sandbox, code: str, exit_code: int, words: str) -> None:
    end = outcome(await run(sandbox, code))

    assert (end.status, end.exit_code, end.variables_kept) == ("crashed", exit_code, False)
    assert words in end.error_message
    assert text(await run(sandbox, "print(1)")) == "1\n"


async def test_variables_lost_between_two_cells_are_told_with_the_next(sandbox: Sandbox) -> None:
    await run(sandbox, "1")
    await run(sandbox, "import os, threading\nthreading.Timer(0.2, lambda: os._exit(1)).start()")
    while not outcome(await run(sandbox, "sleep 0.05", "bash")).variables_lost_before:
        pass

    assert not outcome(await run(sandbox, "1")).variables_lost_before


async def test_code_over_the_limit_is_refused_with_the_limit(sandbox: Sandbox) -> None:
    with pytest.raises(SandboxError, match="4,194,304"):
        await run(sandbox, "#" * (4 * 1024 * 1024 + 1))

    assert outcome(await run(sandbox, "1")).status == "ok"


async def test_a_removed_container_ends_the_run_as_lost(engine: Engine, sandbox: Sandbox) -> None:
    events: list[RunEvent] = []
    async for event in sandbox.run("print(1)\nwhile True: pass"):
        events.append(event)
        if isinstance(event, Output):
            await engine.remove(sandbox.container_id)

    assert (outcome(events).status, outcome(events).sandbox_lost) == ("lost", True)
    with pytest.raises(SandboxGone):
        await run(sandbox, "1")


async def test_fifty_cells_in_a_row_leave_no_stream_open(sandbox: Sandbox) -> None:
    for number in range(50):
        assert text(await run(sandbox, f"print({number})")) == f"{number}\n"

    assert sandbox._attachment.channel._streams == {}
