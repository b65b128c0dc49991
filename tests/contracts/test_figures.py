"""What a cell used is told, whatever runs the container: from its cgroup, or where none is to be seen, from /proc."""

from __future__ import annotations

import asyncio
import os

import pytest

from sandbox import Engine, Limits, Outcome, Sandbox
from sandbox.limits import MIB
from tests.contracts.conftest import CONTAINERS

# a process without a container has no figures of its own
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.parametrize("engine", CONTAINERS, indirect=True)]
LATER = "import threading\nthreading.Timer(0.3, lambda: globals().update(more=b'x' * (100 << 20))).start()"
BUSY = "import time\nuntil = time.process_time() + 0.5\nwhile time.process_time() < until: pass"


async def end_of(sandbox: Sandbox, code: str, language: str = "python") -> Outcome:
    events = [event async for event in sandbox.run(code, language)]
    assert isinstance(events[-1], Outcome)
    return events[-1]


async def test_processor_time_and_memory_of_a_cell_are_told(engine: Engine) -> None:
    sandbox = await Sandbox.start(engine, f"figures-{os.urandom(4).hex()}", Limits(timeout_seconds=20))
    before = await end_of(sandbox, "1")
    busy = await end_of(sandbox, BUSY)
    child = await end_of(sandbox, f"python3 -c '{BUSY}'", "bash")
    holding = await end_of(sandbox, "held = b'x' * (50 << 20)")
    await sandbox.remove()

    assert busy.cpu_ms > 250
    assert child.cpu_ms > 250
    assert 0 < before.memory_bytes < before.memory_bytes + 40 * MIB < holding.memory_bytes <= holding.peak_bytes


async def test_what_a_cell_takes_is_known_while_it_runs_and_what_it_leaves_behind_goes_on_taking_after_it(
    engine: Engine,
) -> None:
    sandbox = await Sandbox.start(engine, f"figures-{os.urandom(4).hex()}", Limits(timeout_seconds=20))
    known: list[int] = []

    async def grows(to: int) -> None:
        while sandbox.memory_bytes < to:
            await asyncio.sleep(0.05)
        known.append(sandbox.memory_bytes)

    await end_of(sandbox, "1")
    before = sandbox.memory_bytes
    running = sandbox.run("held = b'x' * (60 << 20)\nimport time\nwhile True: time.sleep(0.1)")
    reading = asyncio.ensure_future(anext(running))
    await grows(before + 40 * MIB)
    sandbox.interrupt()
    await reading
    await running.aclose()
    await end_of(sandbox, LATER)
    await grows(before + 120 * MIB)
    await sandbox.remove()

    assert len(known) == 2


async def test_commands_one_after_the_other_take_no_place_for_good(engine: Engine) -> None:
    """gVisor keeps threads of its own for each address space, which the limit of processes counts."""
    sandbox = await Sandbox.start(engine, f"figures-{os.urandom(4).hex()}", Limits(timeout_seconds=20))
    ends = [await end_of(sandbox, "for i in 1 2 3 4 5 6 7 8; do /bin/true; done", "bash") for _ in range(8)]
    await sandbox.remove()

    assert {end.status for end in ends} == {"ok"}
