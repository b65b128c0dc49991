"""Names of short-lived owners of containers, which tell later whether their process still lives."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

PREFIX = "process"
_NAME = re.compile(rf"{PREFIX}-(?P<host>[0-9a-zA-Z.]+(?:-[0-9a-zA-Z.]+)*)-(?P<pid>\d+)-(?P<started>\d+)-[0-9a-f]{{8}}")


def process_instance() -> str:
    """An instance name for containers that are of no use once this process has ended."""
    pid = os.getpid()
    return f"{PREFIX}-{_host()}-{pid}-{_started(pid)}-{os.urandom(4).hex()}"


def is_abandoned(instance: str) -> bool:
    """Whether an instance name is of a process of this machine that is gone; False where nobody can know."""
    match = _NAME.fullmatch(instance)
    if match is None or match["host"] != _host():
        return False
    return _started(int(match["pid"])) != match["started"]


def _host() -> str:
    return re.sub(r"[^0-9a-zA-Z.]+", "-", socket.gethostname()).strip("-") or "host"


def _started(pid: int) -> str:
    """The moment a process began, in the kernel's ticks; 0 when there is no such process, or no /proc."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return "0"
