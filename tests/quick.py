"""`make unit` tries a part of what `make test` tries whole: fewer rounds and examples, and nothing marked `thorough`."""

from __future__ import annotations

import os

QUICK = "QUICK_TESTS"
"""The variable that says so."""


def rounds(whole: int) -> int:
    """How often to try what would be tried `whole` times."""
    return max(whole // 5, 1) if os.environ.get(QUICK) else whole
