"""What is to be said of the Docker Engine before strangers' code runs on it; for doctor, and for the start."""

from __future__ import annotations

import re
from typing import Any

from bot.sandbox_setup import make_engine
from bot.settings import Settings
from bot.views import Finding
from sandbox import SandboxError
from sandbox.spec import is_gvisor

LEAST_RUNC = {(1, 2): 8, (1, 3): 3}  # CVE-2025-31133, 52565, 52881
LEAST_KERNEL = {(5, 10): 254, (5, 15): 204, (6, 1): 170, (6, 6): 137, (6, 12): 85, (6, 18): 22, (6, 19): 12}
"""Where kernel.org mended CVE-2026-31431 ("Copy Fail"), by series; 7.0 and what follows have it from the first."""
LEAST_ENGINE = (29, 5, 1)  # CVE-2026-41567, 42306, 41568


async def engine_findings(settings: Settings) -> list[Finding]:
    """Does an engine answer, and is it new enough to hold hostile code?"""
    engine = make_engine(settings, instance="doctor")
    try:
        found = await engine.version()
        is_bare = await engine.is_bare()
    except SandboxError as error:
        return [Finding(level="error", what=str(error), mend=error.mend)]
    finally:
        await engine.aclose()
    return judged(found, settings.runtime, is_bare)


async def start_findings(settings: Settings) -> list[Finding]:
    """What a bot says when it starts: errors, and who holds the socket. Raises SandboxError."""
    engine = make_engine(settings, instance="doctor")
    try:
        found, is_bare = await engine.version(), await engine.is_bare()
    finally:
        await engine.aclose()
    errors = [finding for finding in judged(found, settings.runtime, is_bare) if finding.level == "error"]
    return errors + [finding for finding in socket_findings(found["Info"], is_bare) if finding.level != "ok"]


def judged(found: dict[str, Any], runtime: str, is_bare: bool) -> list[Finding]:
    """What there is to say of an engine's word on itself (its version, with its info under "Info")."""
    about: dict[str, Any] = found["Info"]
    return [
        Finding(
            level="ok",
            what=f"Docker Engine {found['Version']} answers at {found['Address']} (API {found['ApiVersion']})",
        ),
        *_versions(found),
        *_kernel(about, runtime),
        *_runtime(runtime, about.get("Runtimes") or {}),
        *_limits(about),
        *_privileges(about),
        *_storage(about),
        *socket_findings(about, is_bare),
    ]


def _versions(found: dict[str, Any]) -> list[Finding]:
    findings = []
    if _numbers(found["Version"]) < LEAST_ENGINE:
        wanted = ".".join(map(str, LEAST_ENGINE))
        what = f"Docker Engine {found['Version']} has known holes in its copy calls, which Threadbox never uses"
        findings.append(Finding(level="warning", what=what, mend=f"Upgrade to {wanted} or newer."))
    runc = next((part["Version"] for part in found.get("Components", []) if part["Name"] == "runc"), "")
    if _numbers(runc) and _is_older(runc, LEAST_RUNC):
        what = f"runc {runc} has known ways out of a container (CVE-2025-31133 and others)"
        mend = f"Upgrade to {_listed(LEAST_RUNC)} or newer before strangers use it."
        findings.append(Finding(level="warning", what=what, mend=mend))
    return findings


def _kernel(about: dict[str, Any], runtime: str) -> list[Finding]:
    """Of the kernel that sandboxes share with the host: with a runtime that has its own it matters less."""
    version = str(about.get("KernelVersion", ""))
    if is_gvisor(runtime) or not version or not _is_older(version, LEAST_KERNEL):
        return []
    what = f"Linux {version} has a known way to root (CVE-2026-31431), unless your distribution has mended it"
    mend = (
        f"Upgrade it; kernel.org's are mended from {_listed(LEAST_KERNEL)} and 7.0 on. Sandboxes cannot open that door."
    )
    return [Finding(level="warning", what=what, mend=mend)]


def _storage(about: dict[str, Any]) -> list[Finding]:
    """Only some drivers limit what a container writes to disk; ours write none, so that it costs nothing to lack it."""
    backing = dict(about.get("DriverStatus") or []).get("Backing Filesystem", "")
    if about.get("Driver") != "overlay2" or backing == "xfs":
        return []
    return [
        Finding(
            level="ok", what=f"No quota of disk (overlay2 on {backing}), and none needed: sandboxes write to memory"
        )
    ]


def _is_older(version: str, least: dict[tuple[int, int], int]) -> bool:
    """Than the first that was mended in its series; series between those named, and before them, never were."""
    major, minor, patch = (*_numbers(version), 0, 0, 0)[:3]
    if (major, minor) > max(least):
        return False
    return patch < least.get((major, minor), patch + 1)


def _listed(least: dict[tuple[int, int], int]) -> str:
    return ", ".join(f"{major}.{minor}.{patch}" for (major, minor), patch in sorted(least.items()))


def _runtime(name: str, there: dict[str, Any]) -> list[Finding]:
    if not name:
        return []
    if name not in there:
        mend = "Name it in daemon.json under runtimes, or unset THREADBOX_RUNTIME."
        return [Finding(level="error", what=f"The engine has no runtime {name}", mend=mend)]
    if "--ignore-cgroups" in (there[name].get("runtimeArgs") or []):
        what = f"The runtime {name} runs with --ignore-cgroups: memory and processes have no limit"
        return [Finding(level="error", what=what, mend="Do not let strangers use it so; take the argument away.")]
    return [Finding(level="ok", what=f"Sandboxes run on {name}")]


def _limits(about: dict[str, Any]) -> list[Finding]:
    kept = {"memory": "MemoryLimit", "processes": "PidsLimit", "processors": "CpuCfsQuota"}
    lacking = [what for what, key in kept.items() if not about.get(key)]
    if not lacking:
        return []
    what = f"The engine limits no {' and no '.join(lacking)} (cgroup driver {about.get('CgroupDriver')})"
    mend = "Do not let strangers use it so. Docker rootless needs cgroup v2 and systemd to set limits."
    return [Finding(level="error", what=what, mend=mend)]


def _privileges(about: dict[str, Any]) -> list[Finding]:
    findings = []
    options = _options(about)
    if "seccomp" not in options:
        findings.append(
            Finding(level="error", what="The engine has no seccomp", mend="Use a kernel with CONFIG_SECCOMP.")
        )
    if "rootless" not in options and "userns" not in options:
        what = "The engine runs as root without user namespaces"
        findings.append(
            Finding(level="warning", what=what, mend='Set "userns-remap" in daemon.json, or run Docker rootless.')
        )
    return findings


def socket_findings(about: dict[str, Any], is_bare: bool) -> list[Finding]:
    """Whoever has the bare socket of an engine that runs as root is root, with or without user namespaces."""
    if not is_bare:
        return [Finding(level="ok", what="The bot does not hold the engine's socket: a guard stands before it")]
    if "rootless" in _options(about):
        return []
    what = "The bot holds the socket of an engine that runs as root: a hole in the bot is a hole in this machine"
    return [
        Finding(level="warning", what=what, mend="Use docker-compose, where engine-guard has it, or Docker rootless.")
    ]


def _options(about: dict[str, Any]) -> str:
    return " ".join(about.get("SecurityOptions") or [])


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])
