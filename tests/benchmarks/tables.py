"""What the bench says: tables, the same as JSON, and which bars were missed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.benchmarks.bars import BARS, missed


def show(result: dict[str, Any], folder: Path) -> None:
    """Print all of it, and write bench.json and bench.svg. Raises SystemExit, code 1, with the bars that were missed."""
    wrong = missed(result)
    text = json.dumps({**result, "missed": wrong}, indent=1)
    (folder / "bench.json").write_text(text + "\n")
    console = Console(record=True, width=130)
    console.print(f"{result['machine']}, {result['date']}")
    for table in (peers_table(result), life_table(result), bars_table(result)):
        console.print(table)
    console.save_svg(str(folder / "bench.svg"), title="make bench")
    print(text, flush=True)
    if wrong:
        raise SystemExit("\n".join(["Missed:", *wrong]))


def peers_table(result: dict[str, Any]) -> Table:
    """Executors side by side."""
    table = Table(title=f"print(6*7) in milliseconds, p50 / p99, {result['rounds']} containers each")
    table.add_column("")
    for name in result["peers_ms"]:
        table.add_column(name, justify="right")
    for name in result["ratios"]:
        table.add_column(f"{name} / Threadbox", justify="right")
    for stage in result["peers_ms"]["Threadbox"]:
        cells = [f"{of[stage]['p50']:,.1f} / {of[stage]['p99']:,.1f}" for of in result["peers_ms"].values()]
        ratios = [f"{of[stage]['p50']:g}x / {of[stage]['p99']:g}x" for of in result["ratios"].values()]
        table.add_row(stage, *cells, *ratios)
    return table


def life_table(result: dict[str, Any]) -> Table:
    """Times, and what is held in memory."""
    columns = ("p50", "p95", "p99", "max")
    table = Table(title="The life of a thread, in milliseconds where nothing else is said")
    for name in ("", *columns, "memory"):
        table.add_column(name, justify="right" if name else "left")
    for name, figures in result["life_ms"].items():
        times = [f"{figures[column]:,.1f}" if column in figures else "" for column in columns]
        table.add_row(name, *times, f"{figures['mb']:g} MB" if "mb" in figures else "")
    return table


def bars_table(result: dict[str, Any]) -> Table:
    """What was to be reached, and what was."""
    table = Table(title="What it has to reach")
    for name in ("", "measured", "bar", "goal", "reached"):
        table.add_column(name, justify="right" if name else "left")
    for bar in BARS:
        figures = [f"{figure:,g}{bar.unit}" for figure in (bar.figure(result), bar.bar, bar.goal)]
        table.add_row(bar.name, *figures, bar.reached(result))
    return table
