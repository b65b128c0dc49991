"""What the figures of the bench have to be: whoever misses a bar fails, a goal is only shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

CHATS = ("Slack", "Discord")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One figure, by the keys that lead to it in the result."""

    keys: tuple[str, ...]
    bar: float
    goal: float
    unit: str = " ms"
    faster: bool = False  # it has to be at least that; others at most

    @property
    def name(self) -> str:
        """As tables and messages say it."""
        if self.faster:
            return f"{self.keys[2]}, times as fast as {self.keys[1]}'s, {self.keys[3]}"
        return ", ".join(key.replace("_", " ") for key in self.keys if key not in ("peers_ms", "life_ms"))

    def figure(self, result: dict[str, Any]) -> float:
        """Raises KeyError for what was not measured: that is no pass."""
        found: Any = result
        for key in self.keys:
            found = found[key]
        return float(found)

    def reached(self, result: dict[str, Any]) -> str:
        """`goal`, `bar` or `no`."""
        sign = -1 if self.faster else 1
        figure = sign * self.figure(result)
        return "goal" if figure <= sign * self.goal else "bar" if figure <= sign * self.bar else "no"


def _ours(stage: str, key: str, bar: float, goal: float) -> Bar:
    return Bar(keys=("peers_ms", "Threadbox", stage, key), bar=bar, goal=goal)


def _against_autogen(stage: str, bar: float, goal: float) -> Bar:
    return Bar(keys=("ratios", "AutoGen", stage, "p50"), bar=bar, goal=goal, unit="x", faster=True)


def _life(row: str, key: str, bar: float, goal: float, unit: str = " ms") -> Bar:
    return Bar(keys=("life_ms", row, key), bar=bar, goal=goal, unit=unit)


BARS = (
    _ours("live cell", "p50", 2, 1),
    _ours("live cell", "p99", 20, 5),
    _against_autogen("live cell", 25, 60),
    _against_autogen("stop", 50, 50),
    _life("new thread, warm", "p50", 20, 8),
    Bar(keys=("cold_against_autogens_start_and_first_cell",), bar=1.5, goal=1.2, unit="x"),
    _life("release until gone", "p95", 150, 90),
    _life("50 threads at once, cell", "p99", 100, 50),
    _life("loop held under that load", "max", 100, 50),
    _life("idle thread, paused", "mb", 45, 35, " MB"),
    _life("unpause", "p95", 50, 50),
    _life("restore", "p50", 1500, 500),
    _life("first plot", "p50", 1200, 600),
    _life("output beside a 100 MB download", "p99", 100, 50),
    _life("threadbox run, second start", "max", 5000, 5000),
    _life("web chat: Stop to stopped", "max", 2000, 500),
    *(_life(f"{chat}: mention to first sign", "p50", 100, 50) for chat in CHATS),
    *(_life(f"{chat}: mention to final post", "p50", 500, 250) for chat in CHATS),
    *(_life(f"{chat}: acknowledgement", "p99", 500, 100) for chat in CHATS),
)


def missed(result: dict[str, Any]) -> list[str]:
    """The bars that were missed, each with its figure."""
    return [
        f"{bar.name}: {bar.figure(result):g}{bar.unit}, the bar is {bar.bar:g}{bar.unit}"
        for bar in BARS
        if bar.reached(result) == "no"
    ]
