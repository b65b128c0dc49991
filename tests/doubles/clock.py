"""A clock that tests advance."""

from __future__ import annotations


class Clock:
    """Seconds; call it to read them."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now
