"""Memory, CPU and out-of-memory counters of the container, from whichever cgroup version is mounted."""

from __future__ import annotations

import os
import resource

ROOT = "/sys/fs/cgroup"
_fds: dict[str, int] = {}
"""Counters stay open: a cell reads several of them before and after, and opening costs more than reading."""


def oom_kills() -> int:
    """How many processes of the container the kernel has killed for memory; 0 where it cannot be read."""
    for name in ("memory.events", "memory/memory.oom_control"):
        for line in _read(name).splitlines():
            key, _, value = line.partition(" ")
            if key == "oom_kill":
                return int(value)
    return 0


def memory_bytes() -> int:
    """Memory in use by the container, tmpfs included; 0 where it cannot be read."""
    return int(_read("memory.current") or _read("memory/memory.usage_in_bytes") or 0)


def cpu_ms() -> tuple[int, bool]:
    """CPU milliseconds used so far and whether the figure is exact (a cgroup's) or only the reaped children's."""
    for line in _read("cpu.stat").splitlines():
        key, _, value = line.partition(" ")
        if key == "usage_usec":
            return int(value) // 1000, True
    if text := _read("cpuacct/cpuacct.usage"):
        return int(text) // 1_000_000, True
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return int((usage.ru_utime + usage.ru_stime) * 1000), False


def _read(name: str) -> str:
    try:
        if name not in _fds:
            _fds[name] = -1
            _fds[name] = os.open(f"{ROOT}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        if _fds[name] < 0:
            return ""
        return os.pread(_fds[name], 4096, 0).decode().strip()
    except OSError:
        return ""
