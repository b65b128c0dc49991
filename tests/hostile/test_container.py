"""The container as the engine made it, whatever we asked for; and that no case of the list is forgotten."""

from __future__ import annotations

import ast
import contextlib
import json
import re
from pathlib import Path
from typing import Any

import docker
import pytest

from sandbox import Limits, Sandbox
from sandbox.engine import DockerEngine
from sandbox.spec import container_spec, seccomp_profile
from tests.hostile.conftest import LIMITS, start
from tests.hostile.runs import run

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]

GOLDEN = Path(__file__).parents[1] / "data" / "container_spec.json"
CASES = range(1, 51)
FOLDERS = ("hostile", "contracts", "unit", "integration", "e2e")
NOT_RUN = {
    "27, a device in the workspace": "mknod is refused (30); a link to a device is tried in its place",
    "27, a sparse file of a pebibyte": "the limit of one file refuses it; the largest that is allowed is tried",
    "43, a thousand races": "four on containers; the thousand are with scripted ones, at every point of each",
    "44, ten minutes": "the clock of reaper and service is ours: hours pass while the container is held",
    "49, fifty threads": "twenty, which is what this machine starts in seconds; the bench runs fifty",
    "33, release_agent": "cgroup 2 has none; on cgroup 1 it is tried",
}
"""Sub-cases that cannot be had on this engine, and what is tried instead."""


def inspected(sandbox: Sandbox) -> dict[str, Any]:
    with contextlib.closing(docker.from_env()) as client:
        found: dict[str, Any] = client.api.inspect_container(sandbox.container_id)
        return found


async def test_the_engine_made_the_container_of_the_golden_spec(engine: DockerEngine) -> None:
    """Case 34."""
    golden = json.loads(GOLDEN.read_text())
    golden["HostConfig"]["SecurityOpt"][1] = f"seccomp={seccomp_profile()}"
    sandbox = await start(engine, Limits())

    found = inspected(sandbox)
    await sandbox.remove()

    wanted = golden["HostConfig"]
    assert {key: found["HostConfig"].get(key) for key in wanted} == wanted
    config = {key: golden[key] for key in ("User", "WorkingDir", "Tty", "OpenStdin", "StdinOnce", "StopSignal")}
    assert {key: found["Config"].get(key) for key in config} == config


async def test_nothing_that_opens_a_way_out_was_added_by_the_engine(sandbox: Sandbox) -> None:
    """Case 34: the misconfigurations that escapes are made of."""
    found = inspected(sandbox)

    host = found["HostConfig"]
    for name in (
        "Binds", "Mounts", "Devices", "DeviceRequests", "DeviceCgroupRules", "CapAdd", "GroupAdd", "VolumesFrom", "Links",
        "PortBindings", "ExtraHosts", "Dns", "PidMode", "UTSMode", "UsernsMode", "CgroupParent", "Privileged",
        "PublishAllPorts", "OomKillDisable", "AutoRemove",
    ):  # fmt: skip
        assert not host.get(name), name
    assert host["IpcMode"] == "private"
    assert host["MemorySwap"] == host["Memory"] == LIMITS.memory_mib << 20
    assert {"/proc/kcore", "/proc/keys", "/sys/firmware"} <= set(host["MaskedPaths"])
    assert {"/proc/sys", "/proc/sysrq-trigger", "/proc/irq"} <= set(host["ReadonlyPaths"])
    assert found["Mounts"] == []
    assert found["NetworkSettings"]["Networks"].keys() <= {"none"}
    assert found["NetworkSettings"]["Ports"] in ({}, None)
    assert container_spec("i", "s", "n", LIMITS)["HostConfig"].keys() <= host.keys()


async def test_nothing_of_the_hosts_environment_is_inside(sandbox: Sandbox) -> None:
    """Case 34."""
    text, _ = await run(sandbox, "import os; print(' '.join(sorted(os.environ)))")

    allowed = {"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "PATH", "HOME", "HOSTNAME", "LANG", "TMPDIR", "PWD", "LC_CTYPE", "GPG_KEY", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"}  # fmt: skip
    prefixes = ("PYTHON", "PIP_", "OMP_", "OPENBLAS_", "MKL_", "MPL")
    assert [name for name in text.split() if name not in allowed and not name.startswith(prefixes)] == []


async def test_every_case_of_the_list_has_a_test_that_names_it() -> None:
    named: set[int] = set()
    tests = Path(__file__).parents[1]
    for path in (path for folder in FOLDERS for path in (tests / folder).glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef) and node.name.startswith("test_"):
                words = re.match(r"Cases? ([\d, ]+)", ast.get_docstring(node) or "")
                named |= {int(number) for number in re.findall(r"\d+", words.group(1))} if words else set()

    assert set(CASES) - named == set()
    assert all(NOT_RUN.values())
