"""A guard for tests, and every way in which the body of a create call can ask for more than a sandbox has."""

from __future__ import annotations

import asyncio
import contextlib
import copy
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from sandbox.engine_address import EnginePlace
from sandbox.guard import EngineGuard
from sandbox.guard_create import GuardLimits
from sandbox.guard_rules import Rules
from sandbox.limits import Limits
from sandbox.spec import container_spec

IMAGE_ID = "sha256:" + "a" * 64
GONE: Any = object()
LIMITS = Limits(memory_mib=256, workspace_mib=64)


def sandbox_body(image_id: str = IMAGE_ID, sandbox_id: str = "0123abcd", limits: Limits = LIMITS) -> dict[str, Any]:
    return container_spec(image_id, sandbox_id, "instance", limits)


def changed(body: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A copy with values put in, key by key, or taken out (GONE)."""
    new = copy.copy(body)
    for key, value in changes.items():
        if value is GONE:
            del new[key]
        elif isinstance(value, dict) and isinstance(new.get(key), dict):
            new[key] = changed(new[key], value)
        else:
            new[key] = value
    return new


@contextlib.asynccontextmanager
async def guarding(listen: Path, engine: EnginePlace, image: str, limits: GuardLimits) -> AsyncIterator[str]:
    """A guard that listens, by the address that the SDK takes."""
    ready = asyncio.Event()
    guard = EngineGuard(engine, Rules(images=frozenset({image}), limits=limits))
    task = asyncio.create_task(guard.serve(listen, ready.set))
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if task.done():
        task.result()
    try:
        yield f"unix://{listen}"
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _host(**values: Any) -> dict[str, Any]:
    return {"HostConfig": values}


def _ulimit(name: str, value: int) -> dict[str, Any]:
    return {"Name": name, "Soft": value, "Hard": value}


_TMPFS = "rw,nosuid,nodev,exec,size=64m,nr_inodes=100000,mode=0700,uid=65532,gid=65532"
_DEVICE = {"PathOnHost": "/dev/sda", "PathInContainer": "/dev/sda", "CgroupPermissions": "rwm"}
_FILES = _ulimit("nofile", 1024), _ulimit("fsize", 256 << 20)

MISCONFIGURED: dict[str, dict[str, Any]] = {
    "privileged": _host(Privileged=True),
    "bind of the root": _host(Binds=["/:/host"]),
    "bind of the socket": _host(Binds=["/var/run/docker.sock:/var/run/docker.sock"]),
    "mount": _host(Mounts=[{"Type": "bind", "Source": "/", "Target": "/host"}]),
    "volume": {"Volumes": {"/host": {}}},
    "volumes from": _host(VolumesFrom=["other"]),
    "capability added": _host(CapAdd=["SYS_ADMIN"]),
    "capabilities kept": _host(CapDrop=[]),
    "capabilities not named": _host(CapDrop=GONE),
    "pid of the host": _host(PidMode="host"),
    "pid of another container": _host(PidMode="container:other"),
    "ipc of the host": _host(IpcMode="host"),
    "ipc that is shared": _host(IpcMode="shareable"),
    "user namespace of the host": _host(UsernsMode="host"),
    "uts of the host": _host(UTSMode="host"),
    "cgroups of the host": _host(CgroupnsMode="host"),
    "network of the host": _host(NetworkMode="host"),
    "network of another container": _host(NetworkMode="container:other"),
    "network bridge": _host(NetworkMode="bridge"),
    "network on": {"NetworkDisabled": False},
    "network config": {"NetworkingConfig": {"EndpointsConfig": {"bridge": {}}}},
    "device": _host(Devices=[_DEVICE]),
    "device request": _host(DeviceRequests=[{"Driver": "nvidia", "Count": -1, "Capabilities": [["gpu"]]}]),
    "device rule": _host(DeviceCgroupRules=["a *:* rwm"]),
    "seccomp off": _host(SecurityOpt=["no-new-privileges:true", "seccomp=unconfined"]),
    "apparmor off": _host(SecurityOpt=["no-new-privileges:true", "apparmor=unconfined"]),
    "new privileges": _host(SecurityOpt=["seccomp=unconfined"]),
    "no security options": _host(SecurityOpt=GONE),
    "paths not masked": _host(MaskedPaths=[]),
    "paths not read-only": _host(ReadonlyPaths=[]),
    "root": {"User": "0:0"},
    "no user": {"User": GONE},
    "group": _host(GroupAdd=["0"]),
    "image by name": {"Image": "alpine"},
    "cgroup parent": _host(CgroupParent="/"),
    "runtime": _host(Runtime="other"),
    "sysctl": _host(Sysctls={"kernel.msgmax": "1"}),
    "link": _host(Links=["other:other"]),
    "published port": _host(PortBindings={"80/tcp": [{"HostPort": "80"}]}),
    "all ports": _host(PublishAllPorts=True),
    "exposed port": {"ExposedPorts": {"80/tcp": {}}},
    "extra host": _host(ExtraHosts=["host:127.0.0.1"]),
    "name server": _host(Dns=["127.0.0.1"]),
    "restart policy": _host(RestartPolicy={"Name": "always"}),
    "auto remove": _host(AutoRemove=True),
    "entrypoint": {"Entrypoint": ["sh"]},
    "command": {"Cmd": ["sh"]},
    "environment": {"Env": ["LD_PRELOAD=/x"]},
    "working directory": {"WorkingDir": "/"},
    "health check": {"Healthcheck": {"Test": ["CMD", "sh"]}},
    "host name": {"Hostname": "other"},
    "stop signal": {"StopSignal": "SIGTERM"},
    "terminal": {"Tty": True},
    "stdin once": {"StdinOnce": True},
    "oom killer off": _host(OomKillDisable=True),
    "oom score": _host(OomScoreAdj=-1000),
    "root that is written": _host(ReadonlyRootfs=False),
    "log": _host(LogConfig={"Type": "json-file", "Config": {}}),
    "init": _host(Init=True),
    "disk": _host(StorageOpt={"size": "100G"}),
    "container id file": _host(ContainerIDFile="/etc/passwd"),
    "another tmpfs": _host(Tmpfs={"/etc": "rw"}),
    "tmpfs with suid": _host(Tmpfs={"/workspace": _TMPFS.replace("nosuid,", "")}),
    "tmpfs without a bound": _host(Tmpfs={"/workspace": "rw"}),
    "tmpfs with the bound of none": _host(Tmpfs={"/workspace": _TMPFS.replace("64m", "0m")}),
    "tmpfs with endless inodes": _host(Tmpfs={"/workspace": _TMPFS.replace("100000", "0")}),
    "tmpfs too large": _host(Tmpfs={"/workspace": _TMPFS.replace("64m", "99999m")}),
    "memory without a bound": _host(Memory=-1, MemorySwap=-1),
    "memory of none": _host(Memory=0, MemorySwap=0),
    "memory too large": _host(Memory=1 << 40, MemorySwap=1 << 40),
    "memory by the byte": _host(Memory=(256 << 20) + 1, MemorySwap=(256 << 20) + 1),
    "memory as text": _host(Memory="256m"),
    "swap": _host(MemorySwap=-1),
    "processors without a bound": _host(NanoCpus=0),
    "processors too many": _host(NanoCpus=64_000_000_000),
    "processor shares": _host(CpuShares=1024),
    "processor set": _host(CpusetCpus="0"),
    "processes without a bound": _host(PidsLimit=-1),
    "processes too many": _host(PidsLimit=100_000),
    "processes as a truth": _host(PidsLimit=True),
    "core files": _host(Ulimits=[_ulimit("core", -1), *_FILES]),
    "endless open files": _host(Ulimits=[_ulimit("core", 0), _ulimit("nofile", -1), _FILES[1]]),
    "another limit": _host(Ulimits=[_ulimit("core", 0), *_FILES, _ulimit("rtprio", 99)]),
    "no limits": _host(Ulimits=GONE),
    "shared memory of the default": _host(ShmSize=0),
    "shared memory too large": _host(ShmSize=1 << 40),
    "no host config": {"HostConfig": GONE},
    "keys in another case": {"hostconfig": {"privileged": True}},
    "no label": {"Labels": {"threadbox": GONE}},
    "no labels": {"Labels": GONE},
    "label of the spec": {"Labels": {"threadbox.spec": "0" * 16}},
    "label of the instance": {"Labels": {"threadbox.instance": ""}},
    "another label": {"Labels": {"com.docker.compose.project": "other"}},
    "another sandbox": {"Labels": {"threadbox.id": "ffff0000"}},
    "an id with a path": {"Labels": {"threadbox.id": "../../x"}},
}
