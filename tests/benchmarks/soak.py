"""Thirty threads of mixed cells on the real engine for some minutes; what may not be there at the end is not there.

python -m tests.benchmarks.soak --minutes 10
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import os
import random
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from sandbox import Limits, Outcome, Output
from sandbox.admission import AdmissionSettings
from sandbox.blobs import Blobs
from sandbox.contract import Engine
from sandbox.engine import DockerEngine
from sandbox.errors import SandboxError
from sandbox.image_build import ImageSource, ensure_image
from sandbox.lease import Lease
from sandbox.pool import PoolSettings
from sandbox.reaper import LifeSettings
from sandbox.service import SandboxService, ServiceSettings
from sandbox.snapshot import Snapshots

THREADS = 30
SANDBOXES = THREADS  # each has its own: what a queue does is another test's
GROWTH_MIB = 30
FLAT_FROM = 0.2  # of the time: by then every thread has run, and what is cached is cached
IDLE_SECONDS = (0.0, 0.0, 0.5, 12.0)  # between two cells of a thread: the last ones are paused, saved and brought back

CELLS = {
    "ok": "print(6 * 7)",
    "error": "1 / 0",
    "flood": "while True: print('x' * 1000)",
    "timeout": "while True: pass",
    "cancel": "import time\nprint('begun', flush=True)\ntime.sleep(60)",
    "exit": "import os; os._exit(3)",
    "killed": "import time\nprint('begun', flush=True)\ntime.sleep(60)",
    "files": "import os; open('data.bin', 'wb').write(os.urandom(1 << 20))",
    "reset": "",
}
WEIGHTS = {"ok": 12, "files": 3, "error": 3, "cancel": 2, "exit": 1, "flood": 1, "timeout": 1, "killed": 1, "reset": 1}
FORGETS = {"crashed", "lost", "reset", "timeout", "output_limit", "cancelled"}
EXPECTED = {
    "ok": {"ok"}, "files": {"ok"}, "error": {"error"}, "flood": {"output_limit", "timeout"}, "timeout": {"timeout"},
    "exit": {"crashed"}, "killed": {"lost"}, "cancel": {"cancelled"}, "reset": {"reset"},
}  # fmt: skip


@dataclass
class Soak:
    """What is run on, until when, and what came of it."""

    engine: Engine
    sandboxes: SandboxService
    until: float
    counts: Counter[str] = field(default_factory=Counter)
    arrivals: Counter[str] = field(default_factory=Counter)
    odd: list[str] = field(default_factory=list)

    async def thread(self, key: str) -> None:
        """One cell after another, with a counter that has to go on where it was whenever it is said to."""
        chance = random.Random(key)
        count: int | None = 0
        while time.monotonic() < self.until:
            kind = chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
            try:
                async with self.sandboxes.lease(key) as lease:
                    count = await self._count(key, lease, count)
                    end = await self._cell(lease, kind)
                    if end in FORGETS:
                        count = None  # what was saved last comes back, or nothing
            except SandboxError as error:
                end = f"{type(error).__name__}: {error}"
                count = None
            self.counts[f"{kind}: {end}"] += 1
            if end not in EXPECTED[kind]:
                self.odd.append(f"{key} {kind}: {end}")
            await asyncio.sleep(chance.choice(IDLE_SECONDS))

    async def _count(self, key: str, lease: Lease, before: int | None) -> int | None:
        printed, end = "", None
        async with contextlib.aclosing(lease.run("n = globals().get('n', 0) + 1; print(n)")) as events:
            async for event in events:
                printed += event.text if isinstance(event, Output) else ""
                end = event if isinstance(event, Outcome) else end
        arrival = lease.arrival.kind if lease.arrival else "none"
        self.arrivals[arrival] += 1
        if not printed.strip().isdecimal():
            self.counts[f"count: {end.status if end else 'no outcome'}"] += 1
            return None
        if before is not None and int(printed) != before + 1:
            self.odd.append(f"{key} went on at {printed.strip()} after {before}: {lease.arrival}")
        return int(printed)

    async def _cell(self, lease: Lease, kind: str) -> str:
        if kind == "reset":
            await lease.reset()
            return "reset"
        async with contextlib.aclosing(lease.run(CELLS[kind])) as events:
            async for event in events:
                if isinstance(event, Outcome):
                    return event.status
                if kind == "cancel":
                    return "cancelled"
                if kind == "killed" and isinstance(event, Output):
                    await self.engine.remove((await lease.sandbox()).container_id)
        return "no outcome"


def rss_mib() -> float:
    """What this process has in memory."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024 / 1024


async def soak(image: str, folder: str, seconds: float) -> list[str]:
    """Run, print the figures, and return what is not as it should be."""
    engine = DockerEngine(image=image, instance=f"soak-{os.urandom(4).hex()}")
    settings = ServiceSettings(
        admission=AdmissionSettings(sandboxes=SANDBOXES, wait_seconds=600),
        pool=PoolSettings(least=0, most=2),
        life=LifeSettings(pause_seconds=2, save_seconds=6, reap_every_seconds=0.5),
    )
    limits = Limits(memory_mib=256, timeout_seconds=2, interrupt_seconds=1)
    sandboxes = SandboxService(engine, limits=limits, settings=settings, snapshots=Snapshots(Blobs.at(folder)))
    begun = time.monotonic()
    run = Soak(engine, sandboxes, begun + seconds)
    async with sandboxes, asyncio.TaskGroup() as group:
        for number in range(THREADS):
            group.create_task(run.thread(str(number)), name=f"soak-{number}")
        await asyncio.sleep(seconds * FLAT_FROM)
        early = rss_mib()
        await asyncio.sleep(seconds * (1 - FLAT_FROM))
        late = rss_mib()
    left = [container.container_id for container in await engine.containers()]
    await engine.aclose()
    await asyncio.sleep(0)  # a task that was cancelled last ends in the next turn
    tasks = [task.get_name() for task in asyncio.all_tasks() - {asyncio.current_task()}]
    _report(run, time.monotonic() - begun, early, late)
    wrong = [f"{len(left)} containers are left"] if left else []
    wrong += [f"tasks are left: {tasks}"] if tasks else []
    wrong += [f"{sandboxes.live} count as live"] if sandboxes.live else []
    wrong += [f"memory grew by {late - early:.1f} MiB"] if late - early >= GROWTH_MIB else []
    return wrong + run.odd


def _report(run: Soak, seconds: float, early: float, late: float) -> None:
    print(f"{sum(run.counts.values())} cells of {THREADS} threads on {SANDBOXES} sandboxes in {seconds:.0f} s")
    for name, count in sorted(run.counts.items()):
        print(f"  {count:6} {name}")
    print("sandboxes found:", ", ".join(f"{count} {kind}" for kind, count in sorted(run.arrivals.items())))
    print(f"memory: {early:.1f} MiB at {FLAT_FROM:.0%} of the time, {late:.1f} MiB at the end")


def main() -> None:
    """Exit code 1 if anything is not as it should be."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=10)
    minutes = parser.parse_args().minutes
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    image = ensure_image(ImageSource(environment=os.environ), print)
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        wrong = asyncio.run(soak(image, folder, minutes * 60))
    print("\n".join(wrong) if wrong else "nothing is left, nothing was lost")
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
