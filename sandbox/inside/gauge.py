"""Tells the host how much memory the sandbox uses, also between cells: what goes on in the background counts too."""

from __future__ import annotations

import time

from . import cgroup
from .frames import Kind
from .link import HostLink

RUNNING_SECONDS = 0.25  # between two looks while a cell runs
IDLE_SECONDS = 2.0
STEP_BYTES = 8 * 1024 * 1024  # a smaller change is not worth a frame


class Gauge:
    """Asked for each round of the supervisor's loop."""

    def __init__(self, link: HostLink) -> None:
        self._link = link
        self._told = 0
        self._next = 0.0

    def patience(self) -> float:
        """How long the loop may sleep for our sake."""
        return max(0.0, self._next - time.monotonic())

    def reset(self) -> None:
        """Another host came, which knows nothing."""
        self._told, self._next = 0, 0.0

    def tick(self, is_running: bool) -> None:
        """Look, and tell what has changed much."""
        now = time.monotonic()
        later = now + (RUNNING_SECONDS if is_running else IDLE_SECONDS)
        self._next = min(self._next, later)
        if now < self._next:
            return
        self._next = later
        memory = cgroup.memory_bytes()
        if abs(memory - self._told) >= STEP_BYTES:
            self._told = memory
            self._link.send_unnumbered(Kind.NOTE, {"memory": memory})
