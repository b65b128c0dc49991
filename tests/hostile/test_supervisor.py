"""Attacks on PID 1 by code of the same uid: it cannot be read, written, stopped, starved or ended."""

from __future__ import annotations

import pytest

from sandbox import Sandbox
from tests.hostile.runs import CALL, run, works

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]


async def test_the_memory_and_descriptors_of_the_supervisor_are_closed(sandbox: Sandbox) -> None:
    """Case 19."""
    code = """
import os
folders = ('fd', 'fdinfo', 'map_files', 'cwd/.')
for name in ('mem', 'fd', 'fd/0', 'fd/1', 'fd/2', 'fdinfo', 'environ', 'maps', 'map_files', 'auxv', 'io', 'syscall', 'stack', 'pagemap',
             'personality', 'task/1/mem', 'ns/pid', 'exe', 'root/etc/passwd', 'cwd/.'):
    for flags in (os.O_RDONLY, os.O_WRONLY):
        try:
            fd = os.open(f'/proc/1/{name}', flags)
            print('opened', name, os.listdir(fd) if name in folders else os.read(fd, 1))
        except OSError:
            pass
for name in ('oom_score_adj', 'coredump_filter', 'clear_refs', 'attr/current', 'timerslack_ns', 'comm', 'setgroups', 'uid_map', 'sched'):
    try:
        os.write(os.open(f'/proc/1/{name}', os.O_WRONLY), b'0')
        print('wrote', name)
    except OSError:
        pass
"""
    text, end = await run(sandbox, code)

    assert (text, end.status) == ("", "ok")
    assert await works(sandbox)


@pytest.mark.parametrize(
    "arguments",
    [
        "101, 16, 1, 0, 0",
        "101, 0x4206, 1, 0, 0",
        "310, 1, 0, 0, 0, 0, 0",
        "311, 1, 0, 0, 0, 0, 0",
        "438, call_fd, 0, 0",
    ],
    ids=["attach", "seize", "readv", "writev", "pidfd_getfd"],
)
async def test_the_supervisor_cannot_be_traced(sandbox: Sandbox, arguments: str) -> None:
    """Case 19."""
    text, _ = await run(sandbox, f"{CALL}\ncall_fd = os.pidfd_open(1)\nprint(call({arguments}))\nos.close(call_fd)")

    assert text == "Operation not permitted\n"


async def test_no_signal_ends_or_stops_the_supervisor(sandbox: Sandbox) -> None:
    """Case 19: one by one through every call that sends one."""
    code = """
import os, signal
handle = os.pidfd_open(1)
for number in [n for n in range(1, 65) if n not in (32, 33)]:
    for send in (lambda: os.kill(1, number), lambda: signal.pidfd_send_signal(handle, number), lambda: libc.tgkill(1, 1, number)):
        try: send()
        except OSError: pass
os.close(handle)
print('sent')
"""
    text, _ = await run(sandbox, "import ctypes\nlibc = ctypes.CDLL(None)\nkept = 1" + code)

    assert text == "sent\n"
    await sandbox.ping()
    assert (await run(sandbox, "print(kept)"))[0] == "1\n"


async def test_a_storm_of_signals_keeps_the_supervisor_from_nothing(sandbox: Sandbox) -> None:
    """Case 19."""
    _, end = await run(sandbox, "import os\nwhile True: os.kill(1, 17); os.kill(1, 2)", timeout=1)

    assert (end.status, end.sandbox_lost) == ("timeout", False)
    assert await works(sandbox)


@pytest.mark.parametrize(
    "code", ["import os; os.kill(-1, 9)", "import os; os.kill(-1, 19)", "import os; os.kill(os.getpid(), 19)"]
)
async def test_killing_or_stopping_everything_hurts_only_its_own_variables(sandbox: Sandbox, code: str) -> None:
    """Case 19."""
    _, end = await run(sandbox, code, timeout=0.5)

    assert not end.sandbox_lost
    assert await works(sandbox)


@pytest.mark.parametrize(
    "limit", ["RLIMIT_AS, (1, 1)", "RLIMIT_NOFILE, (0, 0)", "RLIMIT_CPU, (1, 1)"], ids=["memory", "files", "processor"]
)
async def test_the_limits_of_the_supervisor_cannot_be_lowered(own: Sandbox, limit: str) -> None:
    """Case 19."""
    text, _ = await run(own, f"import resource\nprint(resource.prlimit(1, resource.{limit}))")

    assert "PermissionError" in text
    assert await works(own)


async def test_a_workspace_without_permissions_does_not_end_the_supervisor(own: Sandbox) -> None:
    """Case 19."""
    _, end = await run(own, "import os\nos.chmod('/workspace', 0)\nos._exit(1)")

    assert not end.sandbox_lost
    assert await works(own)


async def test_a_workspace_without_permissions_does_not_stop_the_next_command(own: Sandbox) -> None:
    """Case 19."""
    await run(own, "chmod 0 /workspace", "bash")

    assert await works(own)


BOMB = """
import os, time
for _ in range(3):
    try: child = not os.fork()
    except OSError: break  # the children so far have taken every place
    if child:
        while True:
            try: os.fork()
            except OSError: pass
time.sleep(0.4)
os._exit(1)
"""


async def test_an_interpreter_that_dies_in_its_own_fork_bomb_is_replaced(own: Sandbox) -> None:
    """Cases 4, 19: which process gets the place that it leaves is chance, so it dies several times."""
    for _ in range(6):
        _, end = await run(own, BOMB)

        assert (end.status, end.sandbox_lost) == ("crashed", False)
        assert await works(own)


async def test_cutting_the_memory_of_the_interrupts_short_ends_nobody(sandbox: Sandbox) -> None:
    """Cases 19, 21."""
    code = "import os\nfor fd in range(3, 20):\n  try: os.ftruncate(fd, 0)\n  except OSError: pass\nwhile True: pass"

    _, end = await run(sandbox, code, timeout=0.5)

    assert (end.status, end.sandbox_lost) == ("timeout", False)
    assert await works(sandbox)
