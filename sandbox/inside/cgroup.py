"""Memory, CPU and out-of-memory counters of the container, from whichever cgroup version is mounted."""

from __future__ import annotations

import resource
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


def oom_kills() -> int:
    """How many processes of the container the kernel has killed for memory; 0 where it cannot be read."""
    for path in (ROOT / "memory.events", ROOT / "memory/memory.oom_control"):
        for line in _read(path).splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return int(value)
    return 0


def memory_bytes() -> int:
    """Memory in use by the container, tmpfs included; 0 where it cannot be read."""
    for path in (ROOT / "memory.current", ROOT / "memory/memory.usage_in_bytes"):
        if text := _read(path):
            return int(text)
    return 0


def cpu_ms() -> tuple[int, bool]:
    """CPU milliseconds used so far and whether the figure is exact (a cgroup's) or only the reaped children's."""
    for line in _read(ROOT / "cpu.stat").splitlines():
        name, _, value = line.partition(" ")
        if name == "usage_usec":
            return int(value) // 1000, True
    if text := _read(ROOT / "cpuacct/cpuacct.usage"):
        return int(text) // 1_000_000, True
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return int((usage.ru_utime + usage.ru_stime) * 1000), False


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
