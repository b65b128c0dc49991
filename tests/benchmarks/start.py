"""`threadbox run` as a process: how long it takes until it is ready, and until a Stop in its web chat has stopped."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from tests.benchmarks.timing import summary
from tests.doubles.command import installed
from tests.e2e.threadbox import Process, remove_containers, threadbox

STARTS = 3
STOPS = 10
SPIN = "```\nprint('spinning', flush=True)\nwhile True: pass\n```"


def measure_run() -> dict[str, dict[str, float]]:
    """Milliseconds of the second start and the next ones (the first makes the folder and the database), and of stops."""
    times: list[float] = []
    stops: list[float] = []
    with tempfile.TemporaryDirectory(prefix="threadbox-bench-") as name:
        folder = Path(name)
        try:
            for _ in range(1 + STARTS):
                began = time.perf_counter()
                with threadbox(folder, installed) as bot:
                    times.append((time.perf_counter() - began) * 1000)
                    if len(times) > STARTS:
                        stops = [_stop(bot) for _ in range(STOPS)]
        finally:
            remove_containers(folder)
    return {"threadbox run, second start": summary(times[1:]), "web chat: Stop to stopped": summary(stops)}


def _stop(bot: Process) -> float:
    """From the press to the page that says so, while code runs that never ends."""
    thread = bot.begin(SPIN)
    bot.wait_for(thread, "<samp>spinning")
    began = time.perf_counter()
    bot.post(f"{thread}/stop")
    bot.wait_for(thread, 'class="status stopped"')
    return (time.perf_counter() - began) * 1000


if __name__ == "__main__":
    print(measure_run())
