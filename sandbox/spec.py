"""The one place that says how a container is made: the body of the engine's create call, whole.

Facts behind the choices: README.md, section Decisions.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib import resources
from typing import Any

from sandbox.contract import LABEL, LABEL_ID, LABEL_INSTANCE, LABEL_SPEC
from sandbox.limits import MIB, Limits

UID = 65532
WORKSPACE = "/workspace"
GVISOR = ("runsc", "gvisor")  # what a runtime that is gVisor is called, in part
GVISOR_TASKS = 16  # of the host, for each process that it runs


@cache
def seccomp_profile() -> str:
    """Our allow list of system calls and socket families, as JSON text."""
    text = resources.files("sandbox").joinpath("image/seccomp.json").read_text()
    return json.dumps(json.loads(text), separators=(",", ":"))


def container_spec(image_id: str, sandbox_id: str, instance: str, limits: Limits, runtime: str = "") -> dict[str, Any]:
    """The JSON body that creates a sandbox; the same image, limits and instance always give the same spec hash.

    `runtime` is the engine's name of another one than its default, such as gVisor's runsc.
    """
    body: dict[str, Any] = {
        "Image": image_id,
        "User": f"{UID}:{UID}",
        "WorkingDir": WORKSPACE,
        "Env": [],
        "Tty": False,
        "OpenStdin": True,
        "StdinOnce": False,  # else the first host that detaches ends the sandbox
        "AttachStdin": False,
        "AttachStdout": False,
        "AttachStderr": False,
        "NetworkDisabled": True,
        "StopSignal": "SIGKILL",
        "HostConfig": _host_config(limits, tasks_of_a_process(runtime)),
    }
    if runtime:
        body["HostConfig"]["Runtime"] = runtime
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]
    labels = {LABEL: "1", LABEL_INSTANCE: instance, LABEL_ID: sandbox_id, LABEL_SPEC: digest}
    return {**body, "Labels": labels}


def tasks_of_a_process(runtime: str) -> int:
    """How many of the host's processes and threads one of a sandbox may take.

    gVisor keeps its own beside those that it runs, and one too many ends the sandbox: a few shell commands did so.
    """
    return GVISOR_TASKS if is_gvisor(runtime) else 1


def is_gvisor(runtime: str) -> bool:
    """By what the engine calls it; an empty name is the engine's own."""
    return any(name in runtime for name in GVISOR)


def _host_config(limits: Limits, tasks: int) -> dict[str, Any]:
    memory = limits.memory_mib * MIB
    return {
        "NetworkMode": "none",
        "IpcMode": "private",
        "ReadonlyRootfs": True,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges:true", f"seccomp={seccomp_profile()}"],
        "Memory": memory,
        "MemorySwap": memory,
        "NanoCpus": int(limits.cpus * 1e9),
        "CpuShares": 128,
        "PidsLimit": limits.pids * tasks,
        "OomScoreAdj": 500,
        "ShmSize": limits.shm_mib * MIB,
        "Ulimits": [
            _ulimit("core", 0),
            _ulimit("nofile", limits.open_files),
            _ulimit("fsize", limits.file_mib * MIB),
        ],
        "Tmpfs": {
            WORKSPACE: _tmpfs(limits.workspace_mib, limits.workspace_inodes, "exec"),
            "/tmp": _tmpfs(limits.tmp_mib, limits.workspace_inodes // 10, "noexec"),  # noqa: S108 - inside
        },
        # shared memory of System V would outlive its processes and fill the memory limit for good
        "Sysctls": {"kernel.shm_rmid_forced": "1"},
        "LogConfig": {"Type": "none", "Config": {}},
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
        "Privileged": False,
        "PublishAllPorts": False,
        "AutoRemove": False,
        "Init": False,  # the supervisor is PID 1: under an init, user code could reach its descriptors
    }


def _ulimit(name: str, value: int) -> dict[str, Any]:
    return {"Name": name, "Soft": value, "Hard": value}


def _tmpfs(mib: int, inodes: int, execution: str) -> str:
    # uid and gid, not only the mode: the engine makes a mount point that is the working directory 0755 root
    return f"rw,nosuid,nodev,{execution},size={mib}m,nr_inodes={inodes},mode=0700,uid={UID},gid={UID}"
