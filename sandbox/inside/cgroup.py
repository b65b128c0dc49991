"""Memory, CPU and out-of-memory counters of the container, from whichever cgroup version is mounted.

Under gVisor none is: there /proc tells of this sandbox only, and is asked instead.
"""

from __future__ import annotations

import os

ROOT = "/sys/fs/cgroup"
SENTRY = "/proc/sentry-meminfo"  # gVisor's own
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
    if text := _read("memory.current") or _read("memory/memory.usage_in_bytes"):
        return int(text)
    if not os.path.exists(SENTRY):
        return 0
    with open("/proc/meminfo") as lines:
        total, free = (int(next(lines).split()[1]) * 1024 for _ in range(2))
    return total - free


def cpu_ms() -> tuple[int, bool]:
    """CPU milliseconds used so far and whether the figure is exact: a cgroup's, not the sum of who lives now."""
    for line in _read("cpu.stat").splitlines():
        key, _, value = line.partition(" ")
        if key == "usage_usec":
            return int(value) // 1000, True
    if text := _read("cpuacct/cpuacct.usage"):
        return int(text) // 1_000_000, True
    ticks = sum(_ticks(name) for name in os.listdir("/proc") if name.isdigit()) if os.getpid() == 1 else 0
    return ticks * 1000 // os.sysconf("SC_CLK_TCK"), False


def _ticks(pid: str) -> int:
    """Processor time of a process and of its children that it has reaped."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as text:
            return sum(map(int, text.read().rpartition(b")")[2].split()[11:15]))
    except OSError:
        return 0  # it has ended


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
