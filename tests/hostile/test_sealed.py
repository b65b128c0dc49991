"""Hostile code in real containers: what it tries and what comes of it. Tests try the thing; none reads the profile."""

from __future__ import annotations

from collections.abc import AsyncIterator

import docker
import pytest

from sandbox import Limits, Outcome, Output, RunEvent, Sandbox
from sandbox.engine import DockerEngine

pytestmark = pytest.mark.docker


@pytest.fixture
async def sandbox(docker_engine: DockerEngine) -> AsyncIterator[Sandbox]:
    sandbox = await Sandbox.start(
        docker_engine, "hostile", Limits(memory_mib=256, workspace_mib=64, timeout_seconds=20)
    )
    yield sandbox
    await sandbox.remove()


async def run(
    sandbox: Sandbox, code: str, language: str = "python", timeout: float | None = None
) -> tuple[str, Outcome]:
    events: list[RunEvent] = [event async for event in sandbox.run(code, language, timeout_seconds=timeout)]
    last = events[-1]
    assert isinstance(last, Outcome)
    return "".join(event.text for event in events if isinstance(event, Output)), last


async def works(sandbox: Sandbox) -> bool:
    text, end = await run(sandbox, "print(6 * 7)")
    return (text, end.status) == ("42\n", "ok")


TRY = """
import ctypes, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    ctypes.set_errno(0)
    result = libc.syscall(*arguments)
    return 'allowed' if result >= 0 else os.strerror(ctypes.get_errno())
"""


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("ptrace", 101), ("mount", 165), ("umount2", 166), ("pivot_root", 155), ("chroot", 161), ("reboot", 169),
        ("init_module", 175), ("kexec_load", 246), ("add_key", 248), ("keyctl", 250), ("unshare", 272),
        ("perf_event_open", 298), ("process_vm_readv", 310), ("process_vm_writev", 311), ("setns", 308),
        ("bpf", 321), ("userfaultfd", 323), ("io_uring_setup", 425), ("open_tree", 428), ("fsopen", 430),
        ("pidfd_getfd", 438), ("name_to_handle_at", 303), ("open_by_handle_at", 304), ("quotactl", 179),
    ],
)  # fmt: skip
async def test_system_calls_into_the_kernels_depths_are_refused(sandbox: Sandbox, name: str, number: int) -> None:
    text, _ = await run(sandbox, f"{TRY}\nprint(call({number}, 0, 0, 0, 0, 0))")

    assert text == "Operation not permitted\n"


async def test_a_new_user_namespace_is_refused_by_every_door(sandbox: Sandbox) -> None:
    code = f"{TRY}\nprint(call(56, 0x10000000 | 17, 0, 0, 0, 0))\nprint(call(435, 0, 0))\nprint(call(272, 0x10000000))"

    text, _ = await run(sandbox, code)

    assert text.splitlines() == ["Operation not permitted", "Function not implemented", "Operation not permitted"]


async def test_only_three_socket_families_open(sandbox: Sandbox) -> None:
    code = f"""{TRY}
import sys
for family in range(0, 64):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET):
        try:
            socket.socket(family, kind).close()
            print(family)
        except OSError:
            pass
print(call(41, 38 | (1 << 32), 5, 0))
"""
    text, _ = await run(sandbox, code)

    assert {int(line) for line in text.split() if line.isdigit()} == {1, 2, 10}
    assert "allowed" not in text


async def test_it_has_no_capability_no_new_privileges_and_a_filter(sandbox: Sandbox) -> None:
    text, _ = await run(sandbox, "grep -E 'CapEff|CapBnd|NoNewPrivs|Seccomp:|^Uid' /proc/self/status", "bash")

    assert [line.split() for line in text.splitlines()] == [
        ["Uid:", "65532", "65532", "65532", "65532"],
        ["CapEff:", "0000000000000000"],
        ["CapBnd:", "0000000000000000"],
        ["NoNewPrivs:", "1"],
        ["Seccomp:", "2"],
    ]


async def test_the_supervisor_cannot_be_read_written_or_ended(sandbox: Sandbox) -> None:
    code = """
import os, signal
for path in ('/proc/1/mem', '/proc/1/fd', '/proc/1/fd/0', '/proc/1/fd/1', '/proc/1/environ', '/proc/1/maps', '/proc/1/cwd/x'):
    try:
        os.listdir(path) if path.endswith('fd') else open(path, 'rb').read(1)
        print('opened', path)
    except OSError as error:
        print(type(error).__name__)
for number in range(1, 65):
    try: os.kill(1, number)
    except OSError: pass
"""
    text, end = await run(sandbox, code)

    assert "opened" not in text
    assert end.status == "ok"
    assert await works(sandbox)


@pytest.mark.parametrize(
    "code",
    [
        "import os; os.kill(-1, 9)",
        "import os; os.kill(-1, 19)",
        "import os, signal; os.kill(os.getppid(), 9); print(1)",
    ],
)
async def test_killing_or_stopping_everything_hurts_only_its_own_variables(sandbox: Sandbox, code: str) -> None:
    await run(sandbox, code, timeout=2)

    assert await works(sandbox)


@pytest.mark.parametrize(
    "path",
    ["/x", "/etc/x", "/usr/x", "/opt/threadbox/x", "/lib/x", "/proc/sys/kernel/core_pattern", "/sys/x", "/dev/x"],
)
async def test_nothing_but_its_own_folders_can_be_written(sandbox: Sandbox, path: str) -> None:
    text, end = await run(sandbox, f"open({path!r}, 'w').write('x')")

    assert end.error_name in ("OSError", "PermissionError", "FileNotFoundError")


async def test_there_is_no_network_at_all(sandbox: Sandbox) -> None:
    code = """
import socket
for address in (('1.1.1.1', 443), ('169.254.169.254', 80), ('172.17.0.1', 2375), ('10.0.0.1', 80)):
    try: socket.create_connection(address, 1); print('connected', address)
    except OSError: pass
try: socket.getaddrinfo('example.org', 80); print('resolved')
except OSError: pass
print([line.split(':')[0].strip() for line in open('/proc/net/dev') if ':' in line])
"""
    text, _ = await run(sandbox, code)

    assert text == "['lo']\n"


async def test_memory_over_the_limit_is_told_as_such_and_the_next_cell_works(sandbox: Sandbox) -> None:
    _, end = await run(sandbox, "a = b'x' * (400 << 20)")

    assert (end.status, end.exit_code, end.variables_kept) == ("oom", 137, False)
    assert await works(sandbox)


async def test_a_child_that_eats_memory_leaves_the_interpreter(sandbox: Sandbox) -> None:
    await run(sandbox, "kept = 1")
    code = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', \"a = b'x' * (400 << 20)\"])"

    _, end = await run(sandbox, code)

    assert end.status == "oom"
    assert (await run(sandbox, "print(kept)" if end.variables_kept else "print(1)"))[0] == "1\n"


async def test_a_fork_bomb_ends_and_the_next_cell_works(sandbox: Sandbox) -> None:
    await run(sandbox, ":(){ :|:& };:", "bash", timeout=2)
    await run(sandbox, "import os\nwhile True:\n  try: os.fork()\n  except OSError: pass", timeout=2)

    assert await works(sandbox)


async def test_children_of_children_die_with_the_timeout(sandbox: Sandbox) -> None:
    await run(sandbox, "setsid sleep 300 & setsid setsid sleep 301 & sleep 302", "bash", timeout=1)

    text, _ = await run(sandbox, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '", "bash")
    assert "sleep 30" not in text


async def test_a_thousand_orphans_are_reaped(sandbox: Sandbox) -> None:
    await run(sandbox, "for i in $(seq 1000); do (true &) ; done; sleep 0.5", "bash")

    text, _ = await run(sandbox, "grep -l '^State:.Z' /proc/[0-9]*/status | wc -l", "bash")
    assert int(text) <= 1


async def test_files_and_inodes_have_an_end(sandbox: Sandbox) -> None:
    text, _ = await run(sandbox, "head -c 100M /dev/zero > a; df --output=iavail,size -m . | tail -1; rm a", "bash")
    inodes, _ = await run(
        sandbox,
        "n=0\ntry:\n  while True: open(f'f{n}', 'w').close(); n += 1\nexcept OSError as e: print(n <= 100_000, e.strerror)",
    )

    assert "No space left on device" in text
    assert inodes == "True No space left on device\n"


async def test_what_one_sandbox_leaves_the_next_does_not_see(docker_engine: DockerEngine, sandbox: Sandbox) -> None:
    await run(sandbox, "touch /tmp/left /dev/shm/left /workspace/left", "bash")
    other = await Sandbox.start(docker_engine, "hostile-other", Limits())
    text, _ = await run(other, "ls /tmp /dev/shm /workspace", "bash")
    await other.remove()

    assert "left" not in text


async def test_closing_every_descriptor_hurts_only_itself(sandbox: Sandbox) -> None:
    await run(sandbox, "import os\nos.closerange(0, 1024)", timeout=3)

    assert await works(sandbox)


async def test_a_forged_end_on_the_control_socket_fools_nobody_but_its_own_cell(sandbox: Sandbox) -> None:
    code = """
import os, socket
for fd in range(3, 50):
    try: os.write(fd, os.urandom(5000))
    except OSError: pass
"""
    await run(sandbox, code, timeout=3)

    assert await works(sandbox)


async def test_a_forged_outcome_is_bounded_and_plain(sandbox: Sandbox) -> None:
    code = """
import gc, json, os, sys
frames = sys.modules['threadbox_inside.frames']
control = next(o for o in gc.get_objects() if type(o).__name__ == 'Control')
big = {'status': ['x'], 'exit_code': 'y', 'error': {'name': 'n' * 900, 'message': '\\0' * 4000}, 'kernel': 'z', 'x': '\\0' * 4000}
control._socket.sendall(frames.encode(frames.Kind.DISPLAY, control.stream, b'{"mimes": [[1], "x", {}]}'))
control._socket.sendall(frames.encode(frames.Kind.DISPLAY, control.stream, b'[' * 60000))
for _ in range(2000): control._socket.sendall(frames.encode(frames.Kind.NOTE, control.stream, b'{}'))
control._socket.sendall(frames.encode(frames.Kind.END, control.stream, json.dumps(big).encode()))
"""
    _, end = await run(sandbox, code, timeout=5)

    assert (end.status, end.exit_code, len(end.error_name), len(end.error_message)) == ("error", 1, 100, 2000)
    assert await works(sandbox)


async def test_a_thread_that_displays_after_its_cell_disturbs_no_later_one(sandbox: Sandbox) -> None:
    code = """
import threading, time
from IPython.display import HTML, display
def late():
    for _ in range(50):
        time.sleep(0.01)
        display(HTML('<b>late</b>'))
threading.Thread(target=late).start()
"""
    await run(sandbox, code)

    for _ in range(8):
        assert await works(sandbox)


async def test_cutting_the_interrupts_memory_short_ends_nobody(sandbox: Sandbox) -> None:
    code = "import os\nfor fd in range(3, 20):\n  try: os.ftruncate(fd, 0)\n  except OSError: pass\nwhile True: pass"

    _, end = await run(sandbox, code, timeout=0.5)

    assert (end.status, end.sandbox_lost) == ("timeout", False)
    assert await works(sandbox)


async def test_a_shadowed_module_does_not_stop_the_next_interpreter(sandbox: Sandbox) -> None:
    await run(sandbox, "for name in ('json', 'socket', 'IPython', 'signal'): open(f'{name}.py', 'w').write('1/0')")
    await run(sandbox, "import os; os._exit(1)")

    assert await works(sandbox)


async def test_nothing_of_the_hosts_environment_is_inside(sandbox: Sandbox) -> None:
    text, _ = await run(sandbox, "import os; print(' '.join(sorted(os.environ)))")

    allowed = {
        "PATH",
        "HOME",
        "HOSTNAME",
        "LANG",
        "TMPDIR",
        "PWD",
        "LC_CTYPE",
        "GPG_KEY",
        "SSL_CERT_FILE",
        "REQUESTS_CA_BUNDLE",
    }
    prefixes = ("PYTHON", "PIP_", "OMP_", "OPENBLAS_", "MKL_", "MPL")
    assert [name for name in text.split() if name not in allowed and not name.startswith(prefixes)] == []


async def test_the_container_is_as_the_spec_says(docker_engine: DockerEngine, sandbox: Sandbox) -> None:
    client = docker.from_env()
    found = client.api.inspect_container(sandbox.container_id)
    client.close()

    assert found["Mounts"] == []
    assert found["NetworkSettings"]["Networks"].keys() <= {"none"}
    assert found["HostConfig"]["Privileged"] is False
    assert found["HostConfig"]["Binds"] is None
    assert found["HostConfig"]["Memory"] == found["HostConfig"]["MemorySwap"] == 256 << 20
    assert found["State"]["OOMKilled"] is False
