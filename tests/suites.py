"""All tests, in four processes at once: two cores are busy while each of them waits for containers, browsers and limits.

python -W error -m tests.suites

Each line of what they print begins with the name of its suite; the last one says how many tests passed and failed in all.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Event

SUITES = {
    "bot": (("tests/e2e",),),
    "hostile": (("tests/hostile", "-m", "not gvisor"),),
    # what gVisor runs is in one process: its engine takes some twenty seconds to start
    "engines": (
        ("tests/contracts", "tests/hostile", "tests/integration", "-m", "gvisor"),
        ("tests/contracts", "-m", "not gvisor"),
    ),
    "units": (("tests/unit", "tests/integration", "-m", "not gvisor"),),
}
"""What each of them runs, one after the other, as pytest is told it; they take about as long."""

COUNT = re.compile(r"(\d+) (passed|failed|errors?|skipped|xfailed|xpassed)\b")
LAST = re.compile(rf"{COUNT.pattern}.* in [\d.]+s")  # pytest's last line

counts: Counter[str] = Counter()
interrupted = Event()
"""Set by a Ctrl-C, which the terminal tells all of them of."""


def run(name: str) -> int:
    """How the worst of its runs ended."""
    worst = 0
    for chosen in SUITES[name]:
        command = [sys.executable, "-W", "error", "-m", "pytest", *chosen]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as ran:
            assert ran.stdout is not None
            for line in ran.stdout:
                print(f"{name:8}{line}", end="", flush=True)
                if LAST.match(line):
                    counts.update({word: int(number) for number, word in COUNT.findall(line)})
        worst = max(worst, abs(ran.returncode))  # a killed one's is below 0
        if interrupted.is_set():
            break
    return worst


def main() -> int:
    """How the worst of them ended."""
    began = time.monotonic()
    with ThreadPoolExecutor(len(SUITES)) as pool:
        ran = [pool.submit(run, name) for name in SUITES]
        try:
            worst = max(each.result() for each in ran)
        except KeyboardInterrupt:
            interrupted.set()
            return 2  # as pytest does; once all have ended
    told = ", ".join(f"{number} {word}" for word, number in counts.items())
    print(f"{told} in {time.monotonic() - began:.2f}s")
    return worst


if __name__ == "__main__":
    sys.exit(main())
