"""Clocks and percentiles of the bench."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any


async def timed(work: Callable[[], Awaitable[Any]]) -> float:
    """Milliseconds that `work` took."""
    started = time.perf_counter()
    await work()
    return (time.perf_counter() - started) * 1000


def percentile(values: list[float], fraction: float) -> float:
    """The value below which that part of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(fraction * (len(ordered) - 1)))]


def summary(values: list[float]) -> dict[str, float]:
    """What the report says of a series."""
    return {
        "n": len(values),
        "p50": round(statistics.median(values), 3),
        "p95": round(percentile(values, 0.95), 3),
        "p99": round(percentile(values, 0.99), 3),
        "max": round(max(values), 3),
    }


@asynccontextmanager
async def loop_blocks() -> AsyncIterator[list[float]]:
    """Milliseconds by which a tick of 5 ms came late, while the loop is busy: how long something held it."""
    late: list[float] = []

    async def tick() -> None:
        while True:
            started = time.perf_counter()
            await asyncio.sleep(0.005)
            late.append(max(0.0, (time.perf_counter() - started - 0.005) * 1000))

    task = asyncio.ensure_future(tick())
    yield late
    task.cancel()
