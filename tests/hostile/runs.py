"""Running hostile code in a sandbox and looking at what came of it."""

from __future__ import annotations

import contextlib

from sandbox import Outcome, Output, RunEvent, Sandbox

FORGE = """
import gc, json, os, sys, time
frames = sys.modules['threadbox_inside.frames']
Kind = frames.Kind
control = next(o for o in gc.get_objects() if type(o).__name__ == 'Control')
def forge(kind, payload, stream=None):
    return frames.encode(kind, control.stream if stream is None else stream, payload)
send = control._socket.sendall
"""
"""Inside: the kernel's own frames and socket, as any cell can find them."""

CALL = """
import ctypes, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    ctypes.set_errno(0)
    result = libc.syscall(*arguments)
    return 'allowed' if result >= 0 else os.strerror(ctypes.get_errno())
"""
"""Inside: system calls by number, past whatever the C library would check first."""


async def events_of(
    sandbox: Sandbox, code: str, language: str = "python", timeout: float | None = None
) -> list[RunEvent]:
    async with contextlib.aclosing(sandbox.run(code, language, timeout_seconds=timeout)) as events:
        return [event async for event in events]


def text_of(events: list[RunEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, Output))


def end_of(events: list[RunEvent]) -> Outcome:
    last = events[-1]
    assert isinstance(last, Outcome)
    return last


async def run(
    sandbox: Sandbox, code: str, language: str = "python", timeout: float | None = None
) -> tuple[str, Outcome]:
    """What the code printed, and how it ended."""
    events = await events_of(sandbox, code, language, timeout)
    return text_of(events), end_of(events)


async def works(sandbox: Sandbox) -> bool:
    """Whether the same container still answers with an innocent cell's own output, in Python and in bash."""
    events = await events_of(sandbox, "print(6 * 7)")
    shell, shell_end = await run(sandbox, "echo ok", "bash")
    return (
        [type(event) for event in events] == [Output, Outcome]
        and (text_of(events), end_of(events).status) == ("42\n", "ok")
        and (shell, shell_end.status) == ("ok\n", "ok")
    )
