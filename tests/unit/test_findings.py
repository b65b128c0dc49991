"""What is said of an engine: each thing that lets strangers' code do harm is named, and how badly."""

from __future__ import annotations

from typing import Any

import pytest

from bot.findings import judged

GOOD: dict[str, Any] = {
    "Version": "29.5.1",
    "ApiVersion": "1.52",
    "Components": [{"Name": "runc", "Version": "1.2.8"}],
    "Info": {
        "MemoryLimit": True,
        "PidsLimit": True,
        "CpuCfsQuota": True,
        "CgroupDriver": "systemd",
        "SecurityOptions": ["name=seccomp,profile=builtin", "name=rootless"],
        "Runtimes": {"runc": {"path": "runc"}, "runsc": {"path": "runsc"}, "loose": {"runtimeArgs": ["--ignore-cgroups"]}},
    },
}  # fmt: skip


def said(runtime: str = "", is_bare: bool = True, version: str = "29.5.1", **info: Any) -> list[str]:
    found = {**GOOD, "Version": version, "Info": {**GOOD["Info"], **info}}
    return [f"{finding.level}: {finding.what}" for finding in judged(found, runtime, is_bare) if finding.level != "ok"]


def test_a_rootless_engine_of_today_with_limits_is_good() -> None:
    assert said() == []
    assert said("runsc") == []


@pytest.mark.parametrize(
    ("info", "words"),
    [
        ({"MemoryLimit": False, "PidsLimit": False, "CgroupDriver": "none"}, "error: The engine limits no memory and no processes (cgroup driver none)"),
        ({"CpuCfsQuota": False}, "error: The engine limits no processors (cgroup driver systemd)"),
        ({"SecurityOptions": ["name=rootless"]}, "error: The engine has no seccomp"),
    ],
)  # fmt: skip
def test_an_engine_that_holds_nobody_is_an_error(info: dict[str, Any], words: str) -> None:
    assert said(**info) == [words]


def test_a_runtime_without_limits_is_an_error_and_so_is_one_that_is_not_there() -> None:
    (loose,) = said("loose")
    (missing,) = said("kata")

    assert loose.startswith("error: The runtime loose runs with --ignore-cgroups")
    assert missing == "error: The engine has no runtime kata"


def test_old_versions_are_warned_of() -> None:
    (old,) = said(version="28.0.0")

    assert old.startswith("warning: Docker Engine 28.0.0 has known holes")


def test_the_bare_socket_of_an_engine_that_runs_as_root_is_warned_of_and_a_guarded_one_is_not() -> None:
    rootful = ["name=seccomp", "name=userns"]

    (warned,) = said(SecurityOptions=rootful)

    assert warned.startswith("warning: The bot holds the socket of an engine that runs as root")
    assert said(SecurityOptions=rootful, is_bare=False) == []
