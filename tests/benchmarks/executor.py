"""make bench: Threadbox beside AutoGen's executor and llm-sandbox, on the same image in one run.

Prints a table, and writes bench.json and bench.svg beside this file.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from sandbox.image_build import ImageSource
from tests.benchmarks.life import measure_life
from tests.benchmarks.mention import measure_mentions
from tests.benchmarks.peers import ROUNDS, STAGES, Times, as_root, measure_peers
from tests.benchmarks.timing import summary

FOLDER = Path(__file__).parent
BARS = {
    "new thread, warm": ("p50", 20, 8),
    "release until gone": ("p95", 150, 90),
    "50 threads at once, cell": ("p99", 100, 50),
    "loop held under that load": ("max", 100, 50),
    "unpause": ("p95", 50, 50),
    "restore": ("p50", 1500, 500),
    "first plot": ("p50", 1200, 600),
    "output beside a 100 MB download": ("p99", 100, 50),
    **{
        f"{chat}: {stage}": bar
        for chat in ("Slack", "Discord")
        for stage, bar in (
            ("mention to first sign", ("p50", 100, 50)),
            ("mention to final post", ("p50", 500, 250)),
            ("acknowledgement", ("p99", 500, 100)),
        )
    },
}
"""Which figure counts, its bar and its goal, in ms."""


def report(peers: dict[str, Times], life: dict[str, Any]) -> dict[str, Any]:
    figures = {name: {stage: summary(values) for stage, values in stages.items()} for name, stages in peers.items()}
    ours = figures["Threadbox"]
    ratios = {
        name: {
            stage: {key: round(figures[name][stage][key] / ours[stage][key], 1) for key in ("p50", "p99")}
            for stage in STAGES
        }
        for name in figures
        if name != "Threadbox"
    }
    theirs = [start + cell for start, cell in zip(*(peers["AutoGen"][stage] for stage in STAGES[:2]), strict=True)]
    cold = round(life["new thread, cold"]["p50"] / summary(theirs)["p50"], 2)
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{os.cpu_count()} cores, {platform.system()} {platform.release().split('-')[0]}",
        "rounds": ROUNDS,
        "peers_ms": figures,
        "ratios": ratios,
        "life_ms": life,
        "cold_against_autogens_start_and_first_cell": cold,
    }


def peers_table(result: dict[str, Any]) -> Table:
    table = Table(title=f"print(6*7) in milliseconds, p50 / p99, {result['rounds']} containers each")
    table.add_column("")
    for name in result["peers_ms"]:
        table.add_column(name, justify="right")
    for name in result["ratios"]:
        table.add_column(f"{name} / Threadbox", justify="right")
    for stage in STAGES:
        cells = [f"{of[stage]['p50']:,.1f} / {of[stage]['p99']:,.1f}" for of in result["peers_ms"].values()]
        ratios = [f"{of[stage]['p50']:g}x / {of[stage]['p99']:g}x" for of in result["ratios"].values()]
        table.add_row(stage, *cells, *ratios)
    return table


def life_table(result: dict[str, Any]) -> Table:
    table = Table(title="The life of a thread, in milliseconds where nothing else is said")
    for name in ("", "p50", "p95", "p99", "bar", "goal", "reached"):
        table.add_column(name, justify="right" if name else "left")
    for name, figures in result["life_ms"].items():
        if "p50" not in figures:
            table.add_row(
                name, f"{figures['all_mb']} MB", "", "", "45 MB", "35 MB", _reached(figures["all_mb"], 45, 35)
            )
            continue
        key, bar, goal = BARS.get(name, ("", 0, 0))
        known = (f"{key} {bar}", f"{key} {goal}", _reached(figures[key], bar, goal)) if key else ("", "", "")
        table.add_row(name, *(f"{figures[column]:,.1f}" for column in ("p50", "p95", "p99")), *known)
    cold = result["cold_against_autogens_start_and_first_cell"]
    what = "cold, as a part of AutoGen's start and first cell"
    table.add_row(what, f"{cold}x", "", "", "1.5x", "1.2x", _reached(cold, 1.5, 1.2))
    return table


def _reached(value: float, bar: float, goal: float) -> str:
    return "goal" if value <= goal else "bar" if value <= bar else "no"


async def measure(image: str) -> dict[str, Any]:
    peers = await measure_peers(image, as_root(image))
    return report(peers, await measure_life(image) | await measure_mentions())


def main() -> None:
    result = asyncio.run(measure(ImageSource(environment=os.environ).tag))
    (FOLDER / "bench.json").write_text(json.dumps(result, indent=1) + "\n")
    console = Console(record=True, width=130)
    console.print(f"{result['machine']}, {result['date']}")
    console.print(peers_table(result))
    console.print(life_table(result))
    console.save_svg(str(FOLDER / "bench.svg"), title="make bench")


if __name__ == "__main__":
    main()
