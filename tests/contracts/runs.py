"""Running code in a sandbox and looking at what came of it."""

from __future__ import annotations

from sandbox import Outcome, Output, RunEvent, Sandbox


async def run(sandbox: Sandbox, code: str, language: str = "python", timeout: float | None = None) -> list[RunEvent]:
    return [event async for event in sandbox.run(code, language, timeout_seconds=timeout)]


def text(events: list[RunEvent], stream: str = "stdout") -> str:
    return "".join(event.text for event in events if isinstance(event, Output) and event.stream == stream)


def outcome(events: list[RunEvent]) -> Outcome:
    last = events[-1]
    assert isinstance(last, Outcome)
    return last
