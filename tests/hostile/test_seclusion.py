"""A sandbox without a network, sandboxes beside each other, and saved state that wants to run on the host."""

from __future__ import annotations

import asyncio
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox import Limits, Outcome, Output, Sandbox
from sandbox.admission import AdmissionSettings
from sandbox.blobs import Blobs
from sandbox.engine import DockerEngine
from sandbox.reaper import LifeSettings
from sandbox.service import SandboxService, ServiceSettings
from sandbox.snapshot import Snapshots
from tests.hostile.conftest import start
from tests.hostile.runs import run, works

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]

THREADS = 20
ROOT = Path(__file__).parents[2]

TRY = """
import socket
def attempt(family, kind, proto, address, data=b'x'):
    try:
        with socket.socket(family, kind, proto) as s:
            s.settimeout(2)
            s.connect(address)
            s.send(data)
            return f'answered {s.recv(100)}'
    except OSError as error:
        return f'refused {type(error).__name__}'
"""


@pytest.mark.parametrize(
    "code",
    [
        "print(*[attempt(socket.AF_INET, socket.SOCK_STREAM, 0, (a, 443)) for a in ('1.1.1.1', '8.8.8.8')])",
        "print(attempt(socket.AF_INET, socket.SOCK_DGRAM, 0, ('1.1.1.1', 53)))",
        "print(attempt(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP, ('1.1.1.1', 0), b'\\x08' + bytes(7)))",
        "print(attempt(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP, ('1.1.1.1', 0), b'\\x08' + bytes(7)))",
        "print(attempt(socket.AF_INET6, socket.SOCK_STREAM, 0, ('2606:4700:4700::1111', 443)))",
        "print(attempt(socket.AF_INET6, socket.SOCK_DGRAM, 0, ('2606:4700:4700::1111', 53)))",
        "print(attempt(socket.AF_INET6, socket.SOCK_STREAM, 0, ('fe80::1', 22, 0, 1)))",
    ],
    ids=["tcp", "udp", "icmp raw", "icmp", "ipv6 tcp", "ipv6 udp", "ipv6 link"],
)
async def test_nothing_is_sent_from_a_sandbox_without_a_network(sandbox: Sandbox, code: str) -> None:
    """Case 35."""
    text, end = await run(sandbox, TRY + code)

    assert end.status == "ok"
    assert "refused" in text
    assert "answered" not in text


async def test_no_name_is_resolved_in_a_sandbox_without_a_network(sandbox: Sandbox) -> None:
    """Case 35."""
    code = """
import socket
for name in ('index.example', 'host.docker.internal', 'gateway.docker.internal', 'metadata.google.internal'):
    try: print('resolved', socket.getaddrinfo(name, 443))
    except OSError as error: print('refused')
"""

    text, _ = await run(sandbox, code)

    assert text == "refused\n" * 4


async def test_there_is_no_interface_but_loopback_and_no_route(sandbox: Sandbox) -> None:
    """Cases 35, 36."""
    text, _ = await run(sandbox, "print([line.split(':')[0].strip() for line in list(open('/proc/net/dev'))[2:]])")
    routes, _ = await run(sandbox, "print(len(open('/proc/net/route').read().splitlines()))")

    assert text == "['lo']\n"
    assert routes == "1\n"  # the head of the table


@pytest.mark.parametrize(
    "address", ["169.254.169.254:80", "172.17.0.1:22", "10.0.0.1:80", "192.168.0.1:80", "100.64.0.1:80"]
)
async def test_no_private_address_is_reached(sandbox: Sandbox, address: str) -> None:
    """Case 36."""
    host, _, port = address.partition(":")

    text, _ = await run(sandbox, TRY + f"print(attempt(socket.AF_INET, socket.SOCK_STREAM, 0, ('{host}', {port})))")

    assert text.startswith("refused")


async def test_a_service_on_the_hosts_loopback_is_not_the_sandboxs(sandbox: Sandbox) -> None:
    """Case 36."""
    met: list[object] = []
    server = await asyncio.start_server(lambda reader, writer: met.append(writer.close()), "0.0.0.0", 0)
    port = server.sockets[0].getsockname()[1]

    text, _ = await run(sandbox, TRY + f"print(attempt(socket.AF_INET, socket.SOCK_STREAM, 0, ('127.0.0.1', {port})))")
    server.close()

    assert text == "refused ConnectionRefusedError\n"
    assert met == []


async def test_one_sandbox_reaches_no_other(engine: DockerEngine) -> None:
    """Case 38: not its TCP, not an abstract socket, not its shared memory, not its processes or files."""
    first, second = await asyncio.gather(start(engine), start(engine))
    listen = """
import os, socket
tcp = socket.create_server(('0.0.0.0', 4711)); tcp.setblocking(False)
abstract = socket.socket(socket.AF_UNIX); abstract.bind('\\0threadbox-test'); abstract.listen()
memory = open('/dev/shm/threadbox-test', 'w')
open('/tmp/threadbox-test', 'w').write('x'); open('threadbox-test', 'w').write('x')
print('listens')
"""
    attack = (
        TRY
        + """
import glob, os
print(attempt(socket.AF_INET, socket.SOCK_STREAM, 0, ('127.0.0.1', 4711)))
print(attempt(socket.AF_UNIX, socket.SOCK_STREAM, 0, '\\0threadbox-test'))
print([path for folder in ('/dev/shm', '/tmp', '/workspace', '/var/tmp') for path in glob.glob(f'{folder}/threadbox-test')])
print(sum(b'supervisor' in open(f'/proc/{p}/cmdline', 'rb').read() for p in os.listdir('/proc') if p.isdigit()))
"""
    )

    listening, _ = await run(first, listen)
    text, _ = await run(second, attack)
    await asyncio.gather(first.remove(), second.remove())

    assert listening == "listens\n"
    assert text == "refused ConnectionRefusedError\nrefused ConnectionRefusedError\n[]\n1\n"


async def test_threads_at_once_have_their_own_output_files_and_variables(engine: DockerEngine) -> None:
    """Case 49, with twenty: two rounds, the second after a pause, each thread's words and no other's."""
    settings = ServiceSettings(
        admission=AdmissionSettings(sandboxes=THREADS, free_mib=0, memory_mib=1 << 20),
        life=LifeSettings(pause_seconds=0, reap_every_seconds=3600),
    )
    limits = Limits(memory_mib=256, timeout_seconds=60)
    async with SandboxService(engine, limits=limits, settings=settings) as sandboxes:

        async def cell(key: str, code: str) -> str:
            async with sandboxes.lease(key) as lease:
                events = [event async for event in lease.run(code)]
            assert isinstance(events[-1], Outcome) and events[-1].status == "ok"
            return "".join(event.text for event in events if isinstance(event, Output))

        keys = [f"t{number}" for number in range(THREADS)]
        write = (
            "import sys; word = {key!r}; open('word', 'w').write(word)\nfor _ in range(200): print(word, flush=True)"
        )
        written = await asyncio.gather(*(cell(key, write.format(key=key)) for key in keys))
        await sandboxes.reaper.reap()
        read = "import glob; print(word, open('word').read(), glob.glob('*'))"
        seen = await asyncio.gather(*(cell(key, read) for key in keys))

    assert written == [f"{key}\n" * 200 for key in keys]
    assert seen == [f"{key} {key} ['word']\n" for key in keys]


HOSTILE = """
import os
class Bomb:
    def __reduce__(self):
        return (exec, ("import os; open('/tmp/threadbox-bomb-' + str(os.getpid()), 'w').close()",))
bomb = Bomb(); good = 41
open('state.pkl', 'wb').write(__import__('pickle').dumps(bomb))
"""


async def test_a_hostile_pickle_in_saved_state_is_loaded_in_the_sandbox_alone(
    engine: DockerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Case 50: the bomb goes off where it was made to be kept, and nothing on the host so much as looks."""
    snapshots = Snapshots(Blobs.at("memory://"))
    bombs = set(Path("/tmp").glob("threadbox-bomb-*"))

    def refused(*_: object, **__: object) -> object:
        raise AssertionError("the host unpickles")

    first = await start(engine)
    await run(first, HOSTILE)
    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refused)
    saved, _ = await snapshots.save(first, "a")
    await first.remove()
    second = await start(engine)
    back = await snapshots.restore(second, "a", saved)
    text, _ = await run(second, "import glob; print(good, len(glob.glob('/tmp/threadbox-bomb-*')))")
    alive = await works(second)
    await second.remove()

    assert text == "41 1\n"
    assert "good" in back.variables and alive
    assert set(Path("/tmp").glob("threadbox-bomb-*")) == bombs


async def test_the_hosts_side_of_the_sandbox_knows_no_unpickler() -> None:
    """Case 50: neither our modules nor what they import for saved state have loaded cloudpickle or dill."""
    code = "import sys, sandbox.service; print([n for n in ('cloudpickle', 'dill', 'joblib') if n in sys.modules])"

    printed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    sources = [path.read_text() for path in (ROOT / "sandbox").glob("*.py")]

    assert printed == "[]\n"
    assert not any(
        word in source for source in sources for word in ("import pickle", "import shelve", "import marshal")
    )
