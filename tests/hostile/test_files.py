"""Files that hostile code makes, names and swaps, on their way out; and what it lays in the way of those coming in."""

from __future__ import annotations

import contextlib
import gzip
from hashlib import sha256
from pathlib import Path

import pytest
from autogen_core import CancellationToken
from autogen_core.code_executor import CodeBlock

from sandbox import Sandbox
from sandbox.autogen import SandboxCodeExecutor
from sandbox.engine import DockerEngine
from sandbox.errors import FileRefused
from tests.hostile.conftest import start
from tests.hostile.runs import run, works

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]

MIB = 1 << 20
ODDITIES = """
ln -s /etc/passwd link
ln -s link hop; ln -s hop hops
ln -s /etc linked
ln -s /dev/zero device
ln -s . here
ln -s loop loop
mkfifo fifo
mkdir folder
python3 -S -c "import socket; socket.socket(socket.AF_UNIX).bind('socket')"
"""


@pytest.mark.parametrize(
    "path",
    [
        "link", "hop", "hops", "linked/passwd", "device", "here/link", "loop", "fifo", "socket", "folder", "..", "../etc/passwd",
        "folder/../../etc/passwd", "/etc/passwd", "/proc/self/environ", "//etc//passwd", "a\0b", "\0", "", ".", "/", "x" * 5000,
        "/".join("a" * 40), "none", "\ud800", "\udcc3",
    ],
)  # fmt: skip
async def test_only_regular_files_of_the_workspace_are_handed_over(sandbox: Sandbox, path: str) -> None:
    """Case 27."""
    await run(sandbox, ODDITIES, "bash")

    with pytest.raises(FileRefused):
        await sandbox.get_file(path, limit_bytes=MIB)

    assert await works(sandbox)


async def test_what_is_no_regular_file_is_not_named_by_the_outcome(sandbox: Sandbox) -> None:
    """Case 27."""
    _, end = await run(sandbox, ODDITIES + "touch real", "bash")

    assert [file.path for file in end.files] == ["real"]


SWAP = """
import os
open('secret', 'w').write('inside')
os.makedirs('d'); open('d/passwd', 'w').write('inside')
os.symlink('/etc/passwd', 'out'); os.symlink('/etc', 'outd')
if not os.fork():
    os.setsid()
    while True:
        os.replace('secret', 'keep'); os.replace('out', 'secret'); os.replace('secret', 'out'); os.replace('keep', 'secret')
        os.rename('d', 'keepd'); os.rename('outd', 'd'); os.rename('d', 'outd'); os.rename('keepd', 'd')
"""


async def test_a_link_swapped_in_during_the_read_is_never_followed(
    own: Sandbox, request: pytest.FixtureRequest
) -> None:
    """Case 27: the file itself, and the folder it is in."""
    await run(own, SWAP)
    seen: dict[str, int] = {}

    for _ in range(80 if "gvisor" in request.node.name else 400):  # where a read takes ten times as long
        for path in ("secret", "d/passwd"):
            try:
                answer = (await own.get_file(path, limit_bytes=MIB)).decode()
            except FileRefused:
                answer = "refused"
            seen[answer] = seen.get(answer, 0) + 1

    assert seen.keys() == {"inside", "refused"}


async def test_a_file_that_shrinks_and_grows_during_the_read_never_exceeds_its_limit(own: Sandbox) -> None:
    """Case 27."""
    code = "import os\nopen('f', 'wb').write(b'x' * 2_000_000)\nif not os.fork():\n  os.setsid()\n  while True: os.truncate('f', 0); os.truncate('f', 2_000_000); os.truncate('f', 9_000_000)"
    await run(own, code)

    for _ in range(60):
        with contextlib.suppress(FileRefused):
            assert len(await own.get_file("f", limit_bytes=3_000_000)) <= 3_000_000

    assert await works(own)


async def test_a_name_that_is_no_text_is_named_and_handed_over(sandbox: Sandbox) -> None:
    """Case 27."""
    _, end = await run(sandbox, r"printf x > $'\xc3.txt'; printf y > $'a\nb\x1b[31m'", "bash")

    assert {file.path for file in end.files} == {"\udcc3.txt", "a\nb\x1b[31m"}
    assert [await sandbox.get_file(file.path, limit_bytes=9) for file in end.files] == [b"y", b"x"]


async def test_a_thousand_folders_deep_is_not_looked_into(sandbox: Sandbox) -> None:
    """Case 27."""
    code = "import os\nfor _ in range(1000): os.mkdir('d'); os.chdir('d')\nopen('deep', 'w').close(); os.chdir('/workspace'); open('top', 'w').close()"

    _, end = await run(sandbox, code)

    assert [file.path for file in end.files] == ["top"]
    with pytest.raises(FileRefused):
        await sandbox.get_file("d/" * 1000 + "deep", limit_bytes=9)
    assert await works(sandbox)


async def test_a_sparse_file_is_as_large_as_it_says(own: Sandbox) -> None:
    """Case 27: a pebibyte is over the limit of one file; the largest that is allowed is refused by its size."""
    text, end = await run(
        own,
        "with open('s', 'wb') as f:\n  try: f.truncate(1 << 50)\n  except OSError as e: print(e.strerror)\n  n = f.truncate(256 << 20)",
    )

    assert text == "File too large\n"
    assert [(file.path, file.size) for file in end.files] == [("s", 256 * MIB)]
    with pytest.raises(FileRefused, match="over the limit"):
        await own.get_file("s", limit_bytes=32 * MIB)


async def test_a_hundred_links_to_a_large_file_are_one_file(sandbox: Sandbox) -> None:
    """Case 27."""
    _, end = await run(sandbox, "head -c 32M /dev/zero > big; for i in $(seq 100); do ln -s big link$i; done", "bash")

    assert [(file.path, file.size) for file in end.files] == [("big", 32 * MIB)]
    with pytest.raises(FileRefused):
        await sandbox.get_file("link100", limit_bytes=64 * MIB)


async def test_a_bomb_is_bytes_like_any_other(sandbox: Sandbox) -> None:
    """Case 13: a gigabyte of zeros in a megabyte, out and in again, is expanded by nobody."""
    await run(sandbox, "import gzip\none = gzip.compress(bytes(1 << 20))\nopen('bomb.tar.gz', 'wb').write(one * 1000)")

    bomb = await sandbox.get_file("bomb.tar.gz", limit_bytes=2 * MIB)
    await sandbox.put_file("in/bomb.tar.gz", bomb)

    assert bomb == gzip.compress(bytes(MIB), mtime=0)[:4] + bomb[4:]
    assert len(bomb) < 2 * MIB
    text, _ = await run(sandbox, "find in -type f -printf '%P %s\\n'; sha256sum < in/bomb.tar.gz", "bash")
    assert text.split()[:3] == ["bomb.tar.gz", str(len(bomb)), sha256(bomb).hexdigest()]


@pytest.mark.parametrize(
    "path",
    [
        "../../x", "..", "a/../../x", "", ".", "/", "a\0b", "/".join("a" * 40), "file/x", "linked/x",
        "x" * 300, "folder",
    ],
)  # fmt: skip
async def test_an_upload_of_a_bad_name_or_over_something_else_is_refused(sandbox: Sandbox, path: str) -> None:
    """Case 28."""
    await run(sandbox, "mkdir folder; touch folder/kept; echo kept > file; ln -s /tmp linked", "bash")

    with pytest.raises(FileRefused):
        await sandbox.put_file(path, b"new")

    text, _ = await run(sandbox, "cat file; find . -path ./.tmp -prune -o -type f -print | sort; ls /tmp", "bash")
    assert text == "kept\n./file\n./folder/kept\n"


async def test_an_upload_with_a_name_that_cannot_be_written_is_refused(own: Sandbox) -> None:
    """Case 28."""
    with pytest.raises(FileRefused):
        await own.put_file("\ud800", b"new")

    assert await works(own)


async def test_an_absolute_name_is_one_below_the_workspace(sandbox: Sandbox) -> None:
    """Case 28."""
    await sandbox.put_file("/etc/passwd", b"mine")

    assert await sandbox.get_file("etc/passwd", limit_bytes=9) == b"mine"
    assert "mine" not in (await run(sandbox, "cat /etc/passwd", "bash"))[0]


async def test_an_upload_larger_than_the_workspace_leaves_nothing(sandbox: Sandbox) -> None:
    """Case 28."""
    with pytest.raises(FileRefused, match="No space left"):
        await sandbox.put_file("big", bytes(65 * MIB))

    assert (await run(sandbox, "find . -name big -o -name '.upload*'", "bash"))[0] == ""


async def test_an_upload_replaces_a_link_and_never_writes_through_it(sandbox: Sandbox) -> None:
    """Case 29."""
    await run(sandbox, "echo old > /tmp/target; ln -s /tmp/target in.csv; mkfifo in.fifo", "bash")

    await sandbox.put_file("in.csv", b"new")
    await sandbox.put_file("in.fifo", b"new")

    text, _ = await run(sandbox, "cat /tmp/target; stat -c %F in.csv in.fifo", "bash")
    assert text == "old\nregular file\nregular file\n"


async def test_links_planted_where_the_next_block_goes_write_nothing_on_the_host(image: str, tmp_path: Path) -> None:
    """Case 29: the attack on AutoGen's own executor, which writes the code of a block into a file that it can guess."""
    victim, work_dir = tmp_path / "victim", tmp_path / "work"
    victim.write_text("untouched")
    code = "print('second')"
    names = [f"tmp_code_{sha256(code.encode()).hexdigest()}.{kind}" for kind in ("py", "python")] + ["out.csv"]
    plant = "\n".join(f"import os; os.symlink({str(victim)!r}, {name!r})" for name in names)
    blocks = [CodeBlock(language="python", code=text) for text in (plant, code)]

    async with SandboxCodeExecutor(image=image, work_dir=work_dir) as executor:
        result = await executor.execute_code_blocks(blocks, CancellationToken())

    assert result.output == "second\n"
    assert victim.read_text() == "untouched"
    assert list(work_dir.iterdir()) == []


LEAVE = """
for d in /workspace /tmp /dev/shm /var/tmp /run/lock /run /dev/mqueue /var/lock; do touch $d/left 2>/dev/null; done
python3 -S -c "import ctypes; libc = ctypes.CDLL(None); libc.shmget(77, 4096, 0o1666); libc.msgget(77, 0o1666)"
setsid sleep 300 &
"""
LOOK = """
for d in /workspace /tmp /dev/shm /var/tmp /run/lock /run /dev/mqueue /var/lock; do ls -A $d 2>/dev/null | grep left; done
tail -n +2 -q /proc/sysvipc/*
cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep 'sleep 30[0]'
"""


async def test_what_one_sandbox_leaves_no_other_sees(engine: DockerEngine, own: Sandbox) -> None:
    """Case 11: neither one beside it nor one that comes after it."""
    beside = await start(engine)
    await run(own, LEAVE, "bash")
    found_by_itself, _ = await run(own, LOOK, "bash")
    found_beside, _ = await run(beside, LOOK, "bash")
    await own.remove()
    after = await start(engine)
    found_after, _ = await run(after, LOOK, "bash")
    await beside.remove()
    await after.remove()

    assert found_by_itself.count("left") >= 3
    assert (found_beside, found_after) == ("", "")
