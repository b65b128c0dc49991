"""What is said of an engine: each thing that lets strangers' code do harm is named, and how badly."""

from __future__ import annotations

from typing import Any

import pytest

from bot.findings import judged

GOOD: dict[str, Any] = {
    "Version": "29.5.1",
    "ApiVersion": "1.52",
    "Address": "unix:///run/user/1000/docker.sock",
    "Components": [{"Name": "runc", "Version": "1.2.8"}],
    "Info": {
        "MemoryLimit": True,
        "PidsLimit": True,
        "CpuCfsQuota": True,
        "CgroupDriver": "systemd",
        "KernelVersion": "7.0.3",
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


@pytest.mark.parametrize(
    ("kernel", "is_old"),
    [
        ("6.18.44", False), ("6.18.21", True), ("6.18.22-1-cloud", False), ("6.8.0-110-generic", True), ("5.4.300", True),
        ("6.1.170", False), ("6.20.1", False), ("7.0-rc1", False), ("8.1.0", False),
    ],
)  # fmt: skip
def test_a_kernel_with_a_known_way_to_root_is_warned_of(kernel: str, is_old: bool) -> None:
    warnings = said(KernelVersion=kernel)

    assert [warning.partition(" has a known way")[0] for warning in warnings] == [f"warning: Linux {kernel}"] * is_old
    assert said("runsc", KernelVersion=kernel) == []
    assert len(said("runc", KernelVersion=kernel)) == is_old


@pytest.mark.parametrize(
    ("runc", "is_old"),
    [("1.1.12", True), ("1.2.7", True), ("1.2.8", False), ("1.3.2", True), ("1.3.3", False), ("1.4.0", False)],
)
def test_a_runc_with_a_known_way_out_is_warned_of(runc: str, is_old: bool) -> None:
    found = {**GOOD, "Components": [{"Name": "runc", "Version": runc}]}

    assert any("known ways out" in finding.what for finding in judged(found, "", True)) == is_old


def test_a_missing_quota_of_disk_is_told_and_no_fault() -> None:
    found = {**GOOD, "Info": {**GOOD["Info"], "Driver": "overlay2", "DriverStatus": [["Backing Filesystem", "extfs"]]}}

    (told,) = [finding for finding in judged(found, "", True) if "quota" in finding.what]
    assert (told.level, told.what) == (
        "ok",
        "No quota of disk (overlay2 on extfs), and none needed: sandboxes write to memory",
    )


def test_old_versions_are_warned_of() -> None:
    (old,) = said(version="28.0.0")

    assert old.startswith("warning: Docker Engine 28.0.0 has known holes")


def test_the_bare_socket_of_an_engine_that_runs_as_root_is_warned_of_and_a_guarded_one_is_not() -> None:
    rootful = ["name=seccomp", "name=userns"]

    (warned,) = said(SecurityOptions=rootful)

    assert warned.startswith("warning: The bot holds the socket of an engine that runs as root")
    assert said(SecurityOptions=rootful, is_bare=False) == []
