"""The figures of a thread's life: first output warm and cold, release, fifty at once, idle memory, restore, first plot."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import aclosing
from pathlib import Path

from sandbox import Limits, Output
from sandbox.admission import AdmissionSettings
from sandbox.blobs import Blobs
from sandbox.engine import DockerEngine, connect
from sandbox.lease import Lease
from sandbox.limits import MIB
from sandbox.pool import PoolSettings
from sandbox.reaper import LifeSettings
from sandbox.service import SandboxService, ServiceSettings
from sandbox.snapshot import Snapshots
from tests.benchmarks.download import measure_download
from tests.benchmarks.timing import loop_blocks, summary, timed

ROUNDS = 10
RELEASES = 40  # its bar is a p95, which of ten would be the worst of ten
AT_ONCE = 50
PLOT = "import pandas, matplotlib.pyplot as plt\npandas.DataFrame({'a': [1, 3, 2]}).plot()\nplt.savefig('plot.png')\nplt.close()"
STATE = """
import os, pandas
open('data.bin', 'wb').write(os.urandom(10_000_000))
for n in range(40): globals()[f'plain_{n}'] = list(range(n))
for n in range(10): globals()[f'frame_{n}'] = pandas.DataFrame({'a': range(1000), 'b': range(1000)})
"""


def service(image: str, *, warm: int = 0, imports: tuple[str, ...] = ()) -> tuple[DockerEngine, SandboxService]:
    engine = DockerEngine(image=image, instance=f"bench-{os.urandom(4).hex()}")
    settings = ServiceSettings(
        admission=AdmissionSettings(sandboxes=100, memory_mib=1 << 20),
        pool=PoolSettings(least=warm, most=warm, imports=imports),
        life=LifeSettings(reap_every_seconds=3600),
    )
    snapshots = Snapshots(Blobs.at("memory://"))
    return engine, SandboxService(engine, limits=Limits(), settings=settings, snapshots=snapshots)


async def first_output(lease: Lease, code: str = "print(6*7)") -> None:
    async with aclosing(lease.run(code)) as events:
        async for event in events:
            if isinstance(event, Output):
                return


async def whole_cell(lease: Lease) -> None:
    """Its output and its outcome."""
    async for _ in lease.run("print(6*7)"):
        pass


async def full(sandboxes: SandboxService, count: int) -> None:
    while sandboxes.pool.ready < count:
        await asyncio.sleep(0.05)


async def new_thread(image: str, warm: int) -> list[float]:
    """From lease() to the first byte of output, in ms; one thread at a time."""
    engine, sandboxes = service(image, warm=warm)
    times = []
    async with sandboxes:
        for number in range(ROUNDS):
            await full(sandboxes, warm)

            async def one(key: str = str(number)) -> None:
                async with sandboxes.lease(key) as lease:
                    await first_output(lease)

            times.append(await timed(one))
    await engine.aclose()
    return times


async def release(image: str) -> list[float]:
    """From reset() until the engine no longer lists the container, in ms."""
    engine, sandboxes = service(image)
    times = []
    async with sandboxes:
        for number in range(RELEASES):
            async with sandboxes.lease(str(number)) as lease:
                sandbox = await lease.sandbox()

                async def gone(container_id: str = sandbox.container_id, lease: Lease = lease) -> None:
                    await lease.reset()
                    while any(item.container_id == container_id for item in await engine.containers()):
                        await asyncio.sleep(0.001)

                times.append(await timed(gone))
    await engine.aclose()
    return times


async def many_at_once(image: str) -> tuple[list[float], list[float], dict[str, float]]:
    """Fifty live threads that all run a trivial cell at the same moment, ten times; the loop's blocks; memory."""
    engine, sandboxes = service(image)
    times: list[float] = []
    async with sandboxes:

        async def cells(key: str, rounds: int) -> None:
            async with sandboxes.lease(key) as lease:
                for _ in range(rounds):
                    times.append(await timed(lambda: whole_cell(lease)))

        # the pool and the creates are not what is measured here: threads come up eight at a time
        for start in range(0, AT_ONCE, 8):
            await asyncio.gather(*(cells(str(n), 1) for n in range(start, min(AT_ONCE, start + 8))))
        times.clear()
        started = time.perf_counter(), time.process_time()
        async with loop_blocks() as late:
            for _ in range(10):
                await asyncio.gather(*(cells(str(n), 1) for n in range(AT_ONCE)))
        wall, cpu = time.perf_counter() - started[0], time.process_time() - started[1]
        used = sandboxes.openings.memory_bytes() / MIB
    await engine.aclose()
    return times, late, {"memory_mib": round(used), "bot_cpu_share": round(cpu / wall, 2), "wall_s": round(wall, 2)}


async def idle_memory(image: str) -> dict[str, float]:
    """What an idle, paused thread costs, in MB: its cgroup (rss, tmpfs, kernel memory) and its shim's own memory."""
    engine, sandboxes = service(image)
    async with sandboxes, sandboxes.lease("a") as lease:
        await first_output(lease)
        sandbox = await lease.sandbox()
        await sandbox.pause()
        group, shim = await asyncio.to_thread(_memory_of, sandbox.container_id)
        await sandbox.unpause()
    await engine.aclose()
    return {
        "cgroup_mb": round(group / 1e6, 1),
        "shim_mb": round(shim / 1e6, 1),
        "mb": round((group + shim) / 1e6, 1),
    }


def _memory_of(container_id: str) -> tuple[int, int]:
    client = connect()
    pid = int(client.api.inspect_container(container_id)["State"]["Pid"])
    client.close()
    parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    lines = Path(f"/proc/{parent}/smaps_rollup").read_text().splitlines()
    shim = sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    groups = dict(line.split(":")[1:] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines())
    if "memory" in groups:
        folder = Path("/sys/fs/cgroup/memory" + groups["memory"])
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        kernel = int((folder / "memory.kmem.usage_in_bytes").read_text())
        return int(stat["rss"]) + int(stat["shmem"] if "shmem" in stat else stat["cache"]) + kernel, shim
    folder = Path("/sys/fs/cgroup" + groups[""])
    stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    return int(stat["anon"]) + int(stat["shmem"]) + int(stat["kernel"]), shim


async def restore(image: str) -> list[float]:
    """From lease() to the first output of a thread that was saved and removed, into a warm container, in ms."""
    engine, sandboxes = service(image, warm=1)
    times = []
    async with sandboxes:
        for _ in range(max(3, ROUNDS // 3)):
            async with sandboxes.lease("a") as lease:
                await first_output(lease, STATE + "print(1)")
            entry = sandboxes.entries["a"]
            async with entry.lock:
                await sandboxes.reaper.save_and_remove(entry)
            await full(sandboxes, 1)

            async def back() -> None:
                async with sandboxes.lease("a") as lease:
                    await first_output(lease, "print(len(frame_9), plain_39[5])")

            times.append(await timed(back))
    await engine.aclose()
    return times


async def first_plot(image: str, imports: tuple[str, ...] = ()) -> tuple[list[float], float]:
    """A first cell that imports pandas and matplotlib and saves a plot, in a warm container, in ms; what one that is ready
    holds in its cgroup, in MB."""
    engine, sandboxes = service(image, warm=1, imports=imports)
    times = []
    async with sandboxes:
        for number in range(5):
            await full(sandboxes, 1)

            async def plot(key: str = str(number)) -> None:
                async with sandboxes.lease(key) as lease, aclosing(lease.run(PLOT)) as events:
                    async for _ in events:
                        pass

            times.append(await timed(plot))
        await full(sandboxes, 1)
        async with sandboxes.lease("memory") as lease:
            group, _ = await asyncio.to_thread(_memory_of, (await lease.sandbox()).container_id)
    await engine.aclose()
    return times, round(group / 1e6, 1)


async def pauses(image: str) -> tuple[list[float], list[float]]:
    """Pause and unpause, in ms."""
    engine, sandboxes = service(image)
    async with sandboxes, sandboxes.lease("a") as lease:
        sandbox = await lease.sandbox()
        down, up = [], []
        for _ in range(ROUNDS):
            down.append(await timed(sandbox.pause))
            up.append(await timed(sandbox.unpause))
    await engine.aclose()
    return down, up


async def measure_life(image: str) -> dict[str, object]:
    """All of it."""
    down, up = await pauses(image)
    at_once, late, load = await many_at_once(image)
    plot, plain_mb = await first_plot(image)
    ahead, ahead_mb = await first_plot(image, ("pandas", "matplotlib.pyplot"))
    return {
        "new thread, warm": summary(await new_thread(image, warm=1)),
        "new thread, cold": summary(await new_thread(image, warm=0)),
        "release until gone": summary(await release(image)),
        "50 threads at once, cell": {**summary(at_once), **load},
        "loop held under that load": summary(late),
        "idle thread, paused": await idle_memory(image),
        "pause": summary(down),
        "unpause": summary(up),
        "restore": summary(await restore(image)),
        "first plot": summary(plot),
        "first plot, imported ahead": summary(ahead),
        "warm sandbox": {"mb": plain_mb},
        "warm sandbox, imported ahead": {"mb": ahead_mb},
        "output beside a 100 MB download": await measure_download(image),
    }
