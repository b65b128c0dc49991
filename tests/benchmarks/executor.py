"""make bench: our executor beside AutoGen's, in one run, on the same image: a table, and bench.json."""

from __future__ import annotations

import asyncio
import io
import json
import os
import platform
import statistics
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from autogen_core import CancellationToken
from autogen_core.code_executor import CodeBlock, CodeExecutor
from autogen_ext.code_executors.docker import DockerCommandLineCodeExecutor
from rich.console import Console
from rich.table import Table

from sandbox.autogen import SandboxCodeExecutor
from sandbox.engine import connect
from sandbox.image_build import ImageSource

ROUNDS = 8  # containers of each kind
CELLS = 25  # cells on each live container
STAGES = ("start", "first_cell", "live_cell", "stop")
BLOCK = [CodeBlock(code="print(6*7)", language="python")]


async def timed(work: Callable[[], Awaitable[Any]]) -> float:
    """Milliseconds that `work` took."""
    started = time.perf_counter()
    await work()
    return (time.perf_counter() - started) * 1000


async def one_round(executor: CodeExecutor, times: dict[str, list[float]]) -> None:
    async def cell() -> None:
        result = await executor.execute_code_blocks(BLOCK, CancellationToken())
        if result.output.strip() != "42":
            raise RuntimeError(f"wrong answer: {result}")

    times["start"].append(await timed(executor.start))
    times["first_cell"].append(await timed(cell))
    for _ in range(CELLS):
        times["live_cell"].append(await timed(cell))
    times["stop"].append(await timed(executor.stop))


def percentile(values: list[float], fraction: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(fraction * (len(ordered) - 1)))]


def summary(values: list[float]) -> dict[str, float]:
    return {
        "n": len(values),
        "p50_ms": round(statistics.median(values), 3),
        "p99_ms": round(percentile(values, 0.99), 3),
    }


def as_root(image: str) -> str:
    """The same image with root as its user: AutoGen mounts a folder that only root may read."""
    client = connect()
    client.images.build(fileobj=io.BytesIO(f"FROM {image}\nUSER root\n".encode()), tag="threadbox-bench:root", rm=True)
    client.close()
    return "threadbox-bench:root"


async def measure(image: str, peer_image: str) -> dict[str, dict[str, list[float]]]:
    """Times of both, one round of each in turn, so that a slow minute of the machine meets both."""
    times: dict[str, dict[str, list[float]]] = {
        name: {stage: [] for stage in STAGES} for name in ("autogen", "threadbox")
    }
    for _ in range(ROUNDS):
        await one_round(DockerCommandLineCodeExecutor(image=peer_image), times["autogen"])
        await one_round(SandboxCodeExecutor(image=image), times["threadbox"])
    return times


def report(times: dict[str, dict[str, list[float]]]) -> dict[str, Any]:
    figures = {name: {stage: summary(values) for stage, values in stages.items()} for name, stages in times.items()}
    ratios = {
        stage: {
            key: round(figures["autogen"][stage][key] / figures["threadbox"][stage][key], 1)
            for key in ("p50_ms", "p99_ms")
        }
        for stage in STAGES
    }
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{os.cpu_count()} cores, {platform.system()} {platform.release()}",
        "rounds": ROUNDS,
        "figures": figures,
        "ratios": ratios,
    }


def show(result: dict[str, Any]) -> None:
    table = Table(title=f"{result['machine']}, {result['date']}, {result['rounds']} containers each")
    for heading in ("", "AutoGen p50", "p99", "Threadbox p50", "p99", "ratio p50", "p99"):
        table.add_column(heading, justify="right" if heading else "left")
    for stage in STAGES:
        theirs, ours = result["figures"]["autogen"][stage], result["figures"]["threadbox"][stage]
        cells = [f"{side[key]:,.1f} ms" for side in (theirs, ours) for key in ("p50_ms", "p99_ms")]
        table.add_row(stage, *cells, *(f"{value}x" for value in result["ratios"][stage].values()))
    Console().print(table)


def main() -> None:
    image = ImageSource(environment=os.environ).tag
    result = report(asyncio.run(measure(image, as_root(image))))
    Path("bench.json").write_text(json.dumps(result, indent=1) + "\n")
    show(result)


if __name__ == "__main__":
    main()
