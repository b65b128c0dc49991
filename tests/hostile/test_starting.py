"""Code that keeps the next interpreter from starting, or makes it slow: the sandbox and its files outlast it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sandbox import Sandbox
from sandbox.blobs import Blobs
from sandbox.engine import DockerEngine
from sandbox.snapshot import SnapshotLimits, Snapshots
from tests.hostile.conftest import LIMITS
from tests.hostile.runs import run, works

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]

HOOK = "for v in 11 12 13 14; do mkdir -p .local/lib/python3.$v/site-packages; echo '{}' > .local/lib/python3.$v/site-packages/x.pth; done"


async def test_a_shadowed_module_does_not_stop_the_next_interpreter(own: Sandbox) -> None:
    """Case 19."""
    await run(
        own, "for name in ('json', 'socket', 'IPython', 'signal', 'struct'): open(f'{name}.py', 'w').write('1/0')"
    )
    await run(own, "import os; os._exit(1)")

    assert await works(own)


async def test_an_interpreter_kept_from_starting_is_told_and_bash_still_works(own: Sandbox) -> None:
    """Case 19."""
    await run(own, HOOK.format("import os; os._exit(3)"), "bash")
    await run(own, "import os; os._exit(1)")

    _, end = await run(own, "print(1)")

    assert (end.status, end.error_name, end.sandbox_lost) == ("crashed", "InterpreterStartFailed", False)
    assert (await run(own, "rm -r .local; echo ok", "bash"))[0] == "ok\n"
    assert await works(own)


async def test_an_interpreter_that_never_starts_costs_no_files(engine: DockerEngine) -> None:
    """Case 19."""
    own = await Sandbox.start(engine, "never-starts", replace(LIMITS, start_seconds=3))
    await run(own, HOOK.format("import time; time.sleep(300)"), "bash")
    await run(own, "import os; os._exit(1)", timeout=1)

    _, end = await run(own, "print(1)", timeout=1)

    assert (end.error_name, end.sandbox_lost) == ("InterpreterStartFailed", False)
    await own.remove()


@pytest.mark.parametrize(
    "hook",
    ["import time; time.sleep(2)", 'import os; os.path.exists("once") or (os.mkdir("once"), os._exit(3))'],
    ids=["slow", "at the second try"],
)
async def test_a_start_costs_none_of_the_variables_that_come_back(own: Sandbox, hook: str) -> None:
    """Only what they do themselves is on their clock."""
    snapshots = Snapshots(Blobs.at("memory://"), SnapshotLimits(load_seconds=1))
    await run(own, "kept = 41")
    saved, _ = await snapshots.save(own, "a")
    await run(own, HOOK.format(hook), "bash")
    await run(own, "import os; os._exit(1)")

    back = await snapshots.restore(own, "a", saved)

    assert (back.variables, back.lost) == (("kept",), ())
    assert (await run(own, "print(kept + 1)"))[0] == "42\n"
