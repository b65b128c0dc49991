"""The garbage collector, told what stays: to go through all that a start has made holds the loop for 0.1 s and more."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

THRESHOLDS = 50_000, 20, 50  # of Python's 700, 10, 10: a start makes half a million objects, next to none in vain


def relax() -> None:
    """Collect more seldom."""
    gc.set_threshold(*THRESHOLDS)


@contextmanager
def settling() -> Iterator[None]:
    """What is there when the block ends stays to the end, as far as the collector goes; meanwhile it waits."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
