"""How code ended, in words for people; pure."""

from __future__ import annotations


def cell_words(status: str, duration_ms: float, exit_code: int, message: str) -> str:
    """One line; empty where code ended well. `message` is what it, or the sandbox, said of its end."""
    after = f" after {duration_ms / 1000:.1f} s" if duration_ms else ""
    match status:
        case "timeout":
            return f"Timed out{after}."
        case "oom":
            return f"Out of memory{after}."
        case "interrupted":
            return f"Stopped{after}."
        case "output_limit":
            return "Stopped: it printed too much."
        case "crashed" | "lost":
            return message or "The interpreter ended."
        case "error":  # what ends so without an error of Python's has shown no traceback
            return message or f"Exit code {exit_code}."
        case _:
            return ""
