"""What is kept of an idle sandbox and comes back into another, whichever engine keeps it and wherever it is stored."""

from __future__ import annotations

import os

import pytest

from sandbox import Engine, Limits, Outcome, Output, Sandbox
from sandbox.blobs import Blobs
from sandbox.errors import BlobsUnavailable, StateMissing
from sandbox.snapshot import SnapshotLimits, Snapshots, Summary

pytestmark = pytest.mark.asyncio(loop_scope="module")
LIMITS = Limits(timeout_seconds=20, interrupt_seconds=0.5)


@pytest.fixture
def snapshots() -> Snapshots:
    limits = SnapshotLimits(files_mib=2, variables_mib=4, variable_mib=2, variables_seconds=1, load_seconds=2)
    return Snapshots(Blobs.at("memory://"), limits)


async def run(sandbox: Sandbox, code: str, language: str = "python") -> str:
    events = [event async for event in sandbox.run(code, language)]
    assert isinstance(events[-1], Outcome)
    return "".join(event.text for event in events if isinstance(event, Output))


async def moved(engine: Engine, snapshots: Snapshots, before: str, after: str) -> tuple[Summary, Summary, str]:
    """Run `before`, save, restore into another sandbox, run `after`: both summaries and what `after` printed."""
    first = await Sandbox.start(engine, f"save-{os.urandom(4).hex()}", LIMITS)
    await run(first, before)
    saved, _ = await snapshots.save(first, "a")
    await first.remove()
    second = await Sandbox.start(engine, f"back-{os.urandom(4).hex()}", LIMITS)
    back = await snapshots.restore(second, "a", saved)
    printed = await run(second, after)
    await second.remove()
    return saved, back, printed


async def test_variables_functions_classes_and_files_come_back(engine: Engine, snapshots: Snapshots) -> None:
    before = """
import os, math
n = 41
rows = same = [1, 2]
def add(x): return x + n
class Point:
    def __init__(self, x): self.x = x
    def shifted(self): return Point(self.x + n)
p = Point(1)
os.makedirs('data/deep')
open('data/deep/a.txt', 'w').write('ä' * 70000)
open('run.sh', 'w').write('echo hi'); os.chmod('run.sh', 0o755)
os.symlink('data/deep/a.txt', 'link'); os.makedirs('empty')
os.chdir('data')
"""
    after = """
n = 1; rows.append(3)
print(add(1), same, p.shifted().x, isinstance(p.shifted(), Point), math.floor(2.5))
import os
print(os.getcwd().endswith('/data'), len(open('deep/a.txt').read()), os.access('../run.sh', os.X_OK))
print(os.readlink('../link'), os.listdir('../empty'))
"""

    saved, back, printed = await moved(engine, snapshots, before, after)

    lines = printed.splitlines()
    assert lines == ["2 [1, 2, 3] 2 True 2", "True 70000 True", "data/deep/a.txt []"]
    assert set(back.variables) == {"os", "math", "n", "rows", "same", "add", "Point", "p"}
    assert back.files == 2
    assert saved.lost == back.lost == ()


@pytest.mark.thorough
async def test_what_cannot_be_kept_is_named_with_its_reason(engine: Engine, snapshots: Snapshots) -> None:
    """Case 46."""
    before = """
import os, time
good = 1
gen = (i for i in range(3))
big = bytes(3_000_000)
class Hangs:
    def __reduce__(self):
        time.sleep(60)
slow = Hangs()
open('big.bin', 'wb').write(bytes(3_000_000))
os.mkfifo('pipe')
os.truncate(os.open('sparse', os.O_CREAT | os.O_WRONLY), 1 << 27)
"""

    _, back, printed = await moved(engine, snapshots, before, "print(good)")

    lost = {text.partition(" (")[0]: text for text in back.lost}
    assert printed == "1\n"
    assert set(lost) == {"gen", "big", "slow", "big.bin", "pipe", "sparse"}
    assert "generator" in lost["gen"]
    assert lost["big"] == "big (too big)"
    assert lost["slow"] == "slow (took too long)"
    assert lost["pipe"] == "pipe (not a regular file)"


async def test_what_is_too_much_together_is_kept_as_far_as_it_fits(engine: Engine, snapshots: Snapshots) -> None:
    before = """
first, second, third = (bytes([number]) * 1_500_000 for number in range(3))
for name in ('a.bin', 'b.bin', 'c.bin'):
    open(name, 'wb').write(first[:900_000])
"""

    _, back, printed = await moved(engine, snapshots, before, "print(len(second))")

    assert printed == "1500000\n"
    assert back.files == 2
    assert {"first", "second"} <= set(back.variables)
    assert [text.partition(" (")[0] for text in back.lost] == ["third", "c.bin"]


async def test_a_package_that_does_not_fit_is_left_out_whole_and_named_as_a_requirement(
    engine: Engine, snapshots: Snapshots
) -> None:
    """Case 46: pip takes a package for installed that has lost a file."""
    before = """
import pathlib
site = pathlib.Path('.local/lib/python3.99/site-packages')
def install(name, version, files):
    files[f'{name}-{version}.dist-info/METADATA'] = b'x'
    for path, data in files.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True); (site / path).write_bytes(data)
    info = site / f'{name}-{version}.dist-info'
    (info / 'RECORD').write_text(''.join(f'{path},,\\n' for path in files) + f'{info.name}/RECORD,,\\n')
install('small', '1.0', {'small.py': b'x', 'shared/x.py': b'x'})
install('big', '2.0', {'big/inner/data.bin': bytes(3_000_000), 'big/__init__.py': b'', '../../../bin/big': b'x', 'shared/x.py': b'x'})
install('forged', '3.0', {'../../../../mine.txt': b'x', 'forged.bin': bytes(3_000_000)})
(site / 'odd-4.0.dist-info').mkdir(); (site / 'odd-4.0.dist-info/RECORD').symlink_to('/etc/passwd')
"""
    after = """
import os, pathlib
os.chdir(pathlib.Path.home())  # where nobody can be seen who was here before
lib = pathlib.Path('.local/lib/python3.99')
print(*sorted(str(path.relative_to(lib)) for path in lib.rglob('*') if not path.is_dir()))
print((lib / 'site-packages/big').exists(), os.path.exists('.local/bin/big'))
"""

    saved, back, printed = await moved(engine, snapshots, before, after)

    names = ["odd-4.0.dist-info/RECORD", "shared/x.py", "small-1.0.dist-info/METADATA", "small-1.0.dist-info/RECORD"]
    kept = " ".join(f"site-packages/{name}" for name in [*names, "small.py"])
    assert printed == f"{kept}\nFalse False\n"
    assert saved.files == 5  # mine.txt too, although a package says that it is its own
    assert saved.left_packages == back.left_packages == ("big==2.0", "forged==3.0")
    assert saved.lost == back.lost == ()


@pytest.mark.thorough
async def test_a_variable_that_heeds_no_interrupt_costs_itself_and_what_comes_after(
    engine: Engine, snapshots: Snapshots
) -> None:
    before = """
import time
first = 1
class Deaf:
    def __reduce__(self):
        while True:
            try: time.sleep(60)
            except BaseException: pass
deaf = Deaf()
"""

    saved, back, printed = await moved(engine, snapshots, before, "print(first)")

    assert printed == "1\n"
    assert "first" in back.variables
    assert saved.lost == ("some (a variable hung)",)


async def test_a_variable_that_hangs_or_kills_on_its_way_back_pins_nothing(
    engine: Engine, snapshots: Snapshots
) -> None:
    """Case 50."""
    before = """
import os, time
class Deadly:
    def __reduce__(self): return (os._exit, (9,))
open('kept.txt', 'w').write('x')
deadly = Deadly()
"""

    _, back, printed = await moved(engine, snapshots, before, "print(open('kept.txt').read())")

    assert printed == "x\n"
    assert back.files == 1
    assert "deadly" not in back.variables
    assert "some (a variable ended the interpreter)" in back.lost


async def test_a_missing_or_broken_state_is_our_failure_and_named(engine: Engine, snapshots: Snapshots) -> None:
    sandbox = await Sandbox.start(engine, f"miss-{os.urandom(4).hex()}", LIMITS)
    empty = Summary()

    with pytest.raises(StateMissing):
        await snapshots.restore(sandbox, "nothing", empty)

    await snapshots._blobs._store.put_async("broken", b"\0\0\0\5hello")
    with pytest.raises(BlobsUnavailable):
        await snapshots.restore(sandbox, "broken", empty)
    await sandbox.remove()
