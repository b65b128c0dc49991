"""make bench: Threadbox beside AutoGen's executor and llm-sandbox, on the same image in one run.

Prints tables and the same as JSON, which are also in bench.svg and bench.json beside this file. A missed bar is named, and
the exit code is 1.
"""

from __future__ import annotations

import asyncio
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bot.observability import configure_logs
from sandbox.image_build import ImageSource
from tests.benchmarks.life import measure_life
from tests.benchmarks.mention import measure_mentions
from tests.benchmarks.peers import ROUNDS, STAGES, Times, as_root, measure_peers
from tests.benchmarks.start import measure_run
from tests.benchmarks.tables import show
from tests.benchmarks.timing import summary


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


async def measure(image: str) -> dict[str, Any]:
    peers = await measure_peers(image, as_root(image))
    life = await measure_life(image) | await measure_mentions() | await asyncio.to_thread(measure_run)
    return report(peers, life)


def main() -> None:
    """Exit code 1 if a bar was missed."""
    configure_logs("warning")
    show(asyncio.run(measure(ImageSource(environment=os.environ).tag)), Path(__file__).parent)


if __name__ == "__main__":
    main()
