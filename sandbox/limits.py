"""Every bound of a sandbox, named, with its unit."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one sandbox may use. `memory_mib` holds files in the workspace too, since they live in memory."""

    memory_mib: int = 1024
    cpus: float = 1.0
    pids: int = 128
    open_files: int = 1024
    file_mib: int = 256
    workspace_mib: int = 512
    workspace_inodes: int = 100_000
    tmp_mib: int = 64
    shm_mib: int = 64
    timeout_seconds: float = 60.0
    start_seconds: float = 20.0
    """What an interpreter that is started again may take, beyond the time-out of the code that waits for it."""
    interrupt_seconds: float = 2.0
    """What code gets between SIGINT and SIGKILL."""
    code_bytes: int = 4 * MIB
    output_head_bytes: int = 64 * 1024
    output_tail_bytes: int = 64 * 1024
    output_whole_bytes: int = 10 * MIB
    display_bytes: int = 16 * MIB

    def __post_init__(self) -> None:
        """Raises ValueError for a bound the engine or the kernel could not keep."""
        lowest = {"memory_mib": 64, "cpus": 0.05, "pids": 8, "timeout_seconds": 0.1, "workspace_mib": 1}
        for name, least in lowest.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; the least is {least}")


HOST_GRACE_SECONDS = 6.0  # after the timeout and `interrupt_seconds` the host removes the container
ATTACH_SECONDS = 10.0  # from the attach to the welcome of a sandbox that lives
GREET_SECONDS = 2.0  # the same of one try of several, after a stream was cut
REATTACH_SECONDS = 15.0  # for the engine to come back after a cut; then what ran counts as lost
REATTACH_PAUSES = (0.05, 1.0)  # between two tries: first and longest
START_SECONDS = 30.0  # from create to the supervisor's welcome
ENGINE_SECONDS = 60.0  # one call to the engine
ENGINE_THREADS = 8  # calls to the engine under way at once
