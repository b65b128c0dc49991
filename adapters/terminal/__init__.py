"""The terminal as a platform: one person, one thread at a time."""

from adapters.terminal.adapter import TerminalPlatform

__all__ = ["TerminalPlatform"]
