"""How runs end, as the host is told."""

from __future__ import annotations

import signal
from typing import Any


def error(name: str, message: str) -> dict[str, str]:
    """An error as outcomes have it."""
    return {"name": name, "message": message}


def kernel_result(value: dict[str, Any]) -> dict[str, Any]:
    """The kernel's word on its cell, which the cell may have forged: known keys, plain types, bounded lengths."""
    status = value.get("status")
    exit_code = value.get("exit_code")
    result: dict[str, Any] = {
        "status": status if status in ("ok", "error", "interrupted") else "error",
        "exit_code": exit_code & 0xFF if isinstance(exit_code, int) else 1,
        "kernel": "kept",
    }
    named = value.get("error")
    if isinstance(named, dict):
        result["error"] = error(str(named.get("name"))[:100], str(named.get("message"))[:2000])
    return result


def death(code: int) -> dict[str, Any]:
    """The outcome of a run whose interpreter ended with `code`."""
    if code < 0:
        name = signal.Signals(-code).name if -code in signal.valid_signals() else f"signal {-code}"
        named = error("InterpreterDied", f"the interpreter was ended by {name}")
        return {"status": "crashed", "exit_code": 128 - code, "error": named, "kernel": "lost"}
    named = error("InterpreterDied", f"the interpreter exited with code {code}")
    return {"status": "crashed", "exit_code": code or 1, "error": named, "kernel": "lost"}


def shell_result(code: int) -> dict[str, Any]:
    """The outcome of a shell command."""
    exit_code = code if code >= 0 else 128 - code
    return {"status": "ok" if code == 0 else "error", "exit_code": exit_code, "kernel": "kept"}
