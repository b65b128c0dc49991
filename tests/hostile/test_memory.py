"""Memory over the limit, held in every way there is: it ends who holds it, and never the supervisor."""

from __future__ import annotations

import subprocess

import pytest

from sandbox import Outcome, Output, Sandbox
from tests.hostile.runs import run, works

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]

MAPPED = "import mmap\nm = mmap.mmap(-1, 400 << 20)\nfor i in range(0, 400 << 20, 4096): m[i] = 1"
MEMFD = "import os\nf = os.memfd_create('m')\nfor _ in range(100): os.write(f, b'x' * (4 << 20))"


@pytest.mark.parametrize("code", ["a = b'x' * (400 << 20)", MAPPED, MEMFD], ids=["heap", "mapping", "memfd"])
async def test_memory_over_the_limit_is_told_as_such_and_the_supervisor_lives(sandbox: Sandbox, code: str) -> None:
    """Case 2."""
    boot = sandbox.boot

    _, end = await run(sandbox, code)

    assert (end.status, end.exit_code, end.variables_kept, end.sandbox_lost) == ("oom", 137, False, False)
    assert end.peak_bytes <= 256 << 20
    await sandbox.ping()
    assert sandbox.boot == boot
    assert await works(sandbox)


async def test_memory_over_the_limit_is_told_as_such_also_where_the_whole_sandbox_ends(own: Sandbox) -> None:
    """Case 2: as under gVisor."""
    _, end = await run(own, "a = b'x' * (400 << 20)\na = [bytearray(a) for _ in range(9)]")

    assert (end.status, end.exit_code, end.variables_kept) == ("oom", 137, False)


async def test_a_sandbox_that_goes_later_is_not_told_to_have_run_out_of_memory(own: Sandbox) -> None:
    """Case 2: the engine keeps its mark of the first time."""
    await run(own, "a = b'x' * (400 << 20)")
    events = []
    async for event in own.run("print('go', flush=True)\nimport time; time.sleep(60)"):
        if isinstance(event, Output):
            subprocess.run(["docker", "kill", own.container_id], check=True, capture_output=True)
        events.append(event)

    assert isinstance(events[-1], Outcome)
    assert events[-1].status == "lost"


async def test_a_shell_command_over_the_limit_leaves_the_variables(sandbox: Sandbox) -> None:
    """Case 2."""
    await run(sandbox, "kept = 1")

    _, end = await run(sandbox, "python3 -c \"a = b'x' * (400 << 20)\"", "bash")

    assert (end.status, end.exit_code, end.variables_kept) == ("oom", 137, True)
    assert (await run(sandbox, "print(kept)"))[0] == "1\n"


async def test_of_two_processes_at_sixty_percent_each_exactly_one_dies(sandbox: Sandbox) -> None:
    """Case 3."""
    code = """
import subprocess, sys
hold = "import sys; a = b'x' * (150 << 20); print('has it', flush=True); sys.stdin.read()"
def holder():
    return subprocess.Popen([sys.executable, '-c', hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
first = holder()
first.stdout.readline()
second = holder()
said = second.stdout.readline()
if said:
    first.wait()
for child in (first, second):
    child.stdin.close()
print(sorted([first.wait(), second.wait()]))
"""
    await run(sandbox, "kept = 1")

    text, end = await run(sandbox, code)

    assert text == "[-9, 0]\n"
    assert (end.status, end.variables_kept) == ("oom", True)
    assert (await run(sandbox, "print(kept)"))[0] == "1\n"


async def test_small_processes_that_made_themselves_as_dear_as_the_supervisor_do_not_end_it(own: Sandbox) -> None:
    """Case 2: the first to die are those that hold the memory, whatever they wrote into oom_score_adj."""
    code = """
import subprocess, sys
hold = "open('/proc/self/oom_score_adj', 'w').write('500'); a = b'x' * (20 << 20); print(1, flush=True); input()"
children = [subprocess.Popen([sys.executable, '-S', '-c', hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(40)]
said = [child.stdout.readline() for child in children]
print(said.count(b''))
"""
    _, end = await run(own, code)

    assert (end.status, end.exit_code, end.sandbox_lost) == ("oom", 137, False)
    assert await works(own)


async def test_shared_memory_ends_at_its_size_for_a_write(sandbox: Sandbox) -> None:
    """Case 10."""
    text, end = await run(sandbox, "open('/dev/shm/x', 'wb').write(b'x' * (70 << 20))")

    assert "No space left on device" in text
    assert end.error_name == "OSError"


async def test_shared_memory_mapped_past_its_size_ends_the_interpreter_with_sigbus(sandbox: Sandbox) -> None:
    """Case 10."""
    code = """
import mmap
with open('/dev/shm/x', 'w+b') as file:
    file.truncate(100 << 20)
    memory = mmap.mmap(file.fileno(), 100 << 20)
for place in range(0, 100 << 20, 4096):
    memory[place] = 1
"""
    _, end = await run(sandbox, code)

    assert (end.status, end.exit_code, end.variables_kept) == ("crashed", 135, False)
    assert "SIGBUS" in end.error_message
    assert await works(sandbox)


async def test_folders_full_to_the_brim_leave_room_for_an_interpreter(own: Sandbox) -> None:
    """Cases 8, 10: the folders live in memory; together they must stay below its limit."""
    fill = "for d in /workspace /tmp /dev/shm; do head -c 100M /dev/zero > $d/fill; done; df -m --output=avail /workspace /tmp /dev/shm"

    await run(own, "1")
    text, _ = await run(own, fill, "bash")
    _, end = await run(own, "import os; os._exit(1)")

    assert text.split()[-4:] == ["Avail", "0", "0", "0"]
    assert end.status == "crashed"
    assert await works(own)


SEGMENT = """
import ctypes
libc = ctypes.CDLL(None)
libc.shmat.restype = ctypes.c_void_p
memory = libc.shmat(libc.shmget(0, ctypes.c_size_t(160 << 20), 0o1600), None, 0)
ctypes.memset(ctypes.c_void_p(memory), 1, 160 << 20)
"""
QUEUES = """
import ctypes
libc = ctypes.CDLL(None)
message = ctypes.create_string_buffer(b'\\1', 8200)
for _ in range(9600):
    queue = libc.msgget(0, 0o1600)
    for _ in range(2):
        libc.msgsnd(queue, message, 8192, 0o4000)
"""


@pytest.mark.parametrize("code", [SEGMENT, QUEUES], ids=["segment", "queues"])
async def test_memory_that_no_process_holds_comes_back(own: Sandbox, code: str) -> None:
    """Case 2."""
    await run(own, f"{code}\nimport os; os._exit(1)")

    _, end = await run(own, "a = b'x' * (100 << 20)")

    assert end.status == "ok"
