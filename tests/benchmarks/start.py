"""How long `threadbox run` takes until it is ready, on a data folder that it knows."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from tests.benchmarks.timing import summary
from tests.doubles.command import installed
from tests.e2e.threadbox import remove_containers, threadbox

STARTS = 3


def measure_starts() -> dict[str, dict[str, float]]:
    """Milliseconds of the second start and the next ones; the first one makes the folder and the database."""
    times: list[float] = []
    with tempfile.TemporaryDirectory(prefix="threadbox-bench-") as name:
        folder = Path(name)
        try:
            for _ in range(1 + STARTS):
                began = time.perf_counter()
                with threadbox(folder, installed):
                    times.append((time.perf_counter() - began) * 1000)
        finally:
            remove_containers(folder)
    return {"threadbox run, second start": summary(times[1:])}


if __name__ == "__main__":
    print(measure_starts())
