"""The terminal's names for what other platforms have ids for."""

from __future__ import annotations

from dataclasses import dataclass

NAME = "terminal"


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminalConfig:
    """Who types, in which thread."""

    person: str = "you"
    thread: str = "main"
