"""What the bench says of its bars, with figures that are made up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.bars import BARS, missed
from tests.benchmarks.tables import show

TIMES = {"p50": 1.0, "p95": 1.0, "p99": 1.0, "max": 1.0}
STAGES = ("start", "first cell", "live cell", "stop")


def measured() -> dict[str, Any]:
    """A result that reaches every goal."""
    rows = {bar.keys[1] for bar in BARS if bar.keys[0] == "life_ms"}
    return {
        "date": "2026-11-24",
        "machine": "two cores",
        "rounds": 6,
        "peers_ms": {name: {stage: dict(TIMES) for stage in STAGES} for name in ("AutoGen", "Threadbox")},
        "ratios": {"AutoGen": {stage: {"p50": 200.0, "p99": 200.0} for stage in STAGES}},
        "life_ms": {row: {"mb": 30.0} if row == "idle thread, paused" else dict(TIMES) for row in rows},
        "cold_against_autogens_start_and_first_cell": 0.7,
    }


def test_who_reaches_every_goal_missed_nothing() -> None:
    result = measured()

    assert missed(result) == []
    assert {bar.reached(result) for bar in BARS} == {"goal"}


@pytest.mark.parametrize(
    ("keys", "figure", "told"),
    [
        (("peers_ms", "Threadbox", "live cell", "p50"), 2.1, "Threadbox, live cell, p50: 2.1 ms, the bar is 2 ms"),
        (("peers_ms", "Threadbox", "live cell", "p99"), 20.5, "Threadbox, live cell, p99: 20.5 ms, the bar is 20 ms"),
        (
            ("ratios", "AutoGen", "live cell", "p50"), 24.9,
            "live cell, times as fast as AutoGen's, p50: 24.9x, the bar is 25x",
        ),
        (("ratios", "AutoGen", "stop", "p50"), 49.9, "stop, times as fast as AutoGen's, p50: 49.9x, the bar is 50x"),
        (("life_ms", "idle thread, paused", "mb"), 46.0, "idle thread, paused, mb: 46 MB, the bar is 45 MB"),
        (("life_ms", "restore", "p50"), 1501.0, "restore, p50: 1501 ms, the bar is 1500 ms"),
    ],
)  # fmt: skip
def test_a_missed_bar_is_named_with_its_figure(keys: tuple[str, ...], figure: float, told: str) -> None:
    result = measured()
    put(result, keys, figure)

    assert missed(result) == [told]


@pytest.mark.parametrize("bar", BARS, ids=lambda bar: bar.name)
def test_a_missed_goal_is_no_missed_bar(bar: Any) -> None:
    result = measured()
    put(result, bar.keys, bar.bar)

    assert missed(result) == []
    assert bar.reached(result) == ("goal" if bar.bar == bar.goal else "bar")


def test_what_was_not_measured_is_no_pass() -> None:
    result = measured()
    del result["life_ms"]["restore"]

    with pytest.raises(KeyError):
        missed(result)


def test_tables_and_json_are_printed_and_written_and_a_missed_bar_is_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = measured()
    show(result, tmp_path)  # which raises nothing: exit code 0
    whole = capsys.readouterr().out
    put(result, ("ratios", "AutoGen", "stop", "p50"), 12.0)

    with pytest.raises(SystemExit) as caught:
        show(result, tmp_path)

    assert "What it has to reach" in whole
    assert json.loads(whole[whole.index("\n{") :]) == {**measured(), "missed": []}
    assert str(caught.value) == "Missed:\nstop, times as fast as AutoGen's, p50: 12x, the bar is 50x"
    assert json.loads((tmp_path / "bench.json").read_text())["missed"] == str(caught.value).splitlines()[1:]
    assert (tmp_path / "bench.svg").exists()


def put(result: dict[str, Any], keys: tuple[str, ...], figure: float) -> None:
    *path, last = keys
    for key in path:
        result = result[key]
    result[last] = figure
