"""What a thread and its agent are told of the sandbox they find: one line, or nothing when all is as it was left."""

from __future__ import annotations

from sandbox.lease import Arrival

MAX_NAMES = 12


def arrival_words(arrival: Arrival, *, had_one: bool) -> str:
    """The line. `had_one`: code has run in this thread before."""
    if arrival.kind == "live":
        return ""
    if arrival.kind == "new" or arrival.summary is None:
        if arrival.notice or had_one:
            why = arrival.notice + " " if arrival.notice else ""
            return f"{why}This thread has a new sandbox: its earlier variables and files are gone."
        return ""
    summary = arrival.summary
    back = [f"{summary.files} files" if summary.files != 1 else "1 file"] if summary.files else []
    if summary.variables:
        back.append(f"variables {_names(summary.variables)}")
    text = f"Brought back after a pause: {' and '.join(back)}." if back else "Brought back after a pause."
    if summary.lost:
        text += f" Not kept: {_names(summary.lost)}."
    if summary.left_packages:
        text += f" Too big to be kept, to be installed again: {_names(summary.left_packages)}."
    return f"{arrival.notice} {text}".strip()


def waiting_words(before: int) -> str:
    """While all sandboxes are in use."""
    if before == 0:
        return "All sandboxes are busy: this is next."
    return f"All sandboxes are busy: {before} before this."


def _names(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:MAX_NAMES])
    return f"{shown} and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else shown
