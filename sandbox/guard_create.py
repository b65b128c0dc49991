"""The body of a create call: it passes only when it equals what `container_spec` builds for the same few numbers."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from sandbox.contract import LABEL_ID, LABEL_INSTANCE
from sandbox.limits import MIB, Limits
from sandbox.spec import WORKSPACE, container_spec, tasks_of_a_process

SANDBOX_ID = re.compile(r"[0-9a-z-]{4,64}")
IMAGE_ID = re.compile(r"sha256:[0-9a-f]{64}")
INSTANCE_CHARS = 200
# what a body may choose, with the least of each: 0 and -1 mean "no limit" to the engine or the kernel
CHOICES = {
    "memory_mib": 64,
    "cpus": 0.05,
    "pids": 8,
    "open_files": 1,
    "file_mib": 1,
    "workspace_mib": 1,
    "workspace_inodes": 10,  # /tmp has a tenth of them
    "tmp_mib": 1,
    "shm_mib": 1,
}
_SIZE = re.compile(r"size=([0-9]{1,9})m")
_INODES = re.compile(r"nr_inodes=([0-9]{1,9})")


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardLimits:
    """The operator's maxima: the most one sandbox may ask for, and how many containers there may be at once."""

    most: Limits = field(default_factory=Limits)
    containers: int = 40
    runtime: str = ""
    """The engine's runtime that every sandbox must ask for; empty: its default."""


class Unlike(ValueError):
    """The body is not that of a sandbox."""


def checked_spec(raw: bytes, name: str, limits: GuardLimits) -> dict[str, Any]:
    """The spec that the body asks for, built anew. Raises Unlike, which says what differs.

    The caller sends on this one and not the body: Go's reader of JSON merges keys that are there twice and does not
    mind their case, so that it could see in the same bytes what Python's does not.
    """
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise Unlike("The body is not JSON.") from error
    try:
        image, sandbox_id, instance = body["Image"], body["Labels"][LABEL_ID], body["Labels"][LABEL_INSTANCE]
        asked = _asked(body["HostConfig"], tasks_of_a_process(limits.runtime))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise Unlike(f"The body is not that of a sandbox ({type(error).__name__}: {str(error)[:80]}).") from error
    if not (isinstance(image, str) and IMAGE_ID.fullmatch(image)):
        raise Unlike("Image is not the id of an image.")
    if not (isinstance(sandbox_id, str) and SANDBOX_ID.fullmatch(sandbox_id)):
        raise Unlike(f"The label {LABEL_ID} is not a sandbox's id.")
    if not (isinstance(instance, str) and 0 < len(instance) <= INSTANCE_CHARS):
        raise Unlike(f"The label {LABEL_INSTANCE} is not an instance's name.")
    if name != f"threadbox-{sandbox_id}":
        raise Unlike("The name is not threadbox-<id of the sandbox>.")
    _within(asked, limits.most)
    spec = container_spec(image, sandbox_id, instance, asked, limits.runtime)
    if body != spec:
        raise Unlike(f"The body is not that of a sandbox: {_difference(body, spec)}.")
    return spec


def _asked(host: dict[str, Any], tasks: int) -> Limits:
    ulimits = {item["Name"]: _whole(item["Hard"]) for item in host["Ulimits"]}
    workspace, tmp = host["Tmpfs"][WORKSPACE], host["Tmpfs"]["/tmp"]  # noqa: S108 - inside
    return Limits(
        memory_mib=_whole(host["Memory"]) // MIB,
        cpus=(_whole(host["NanoCpus"]) + 0.5) / 1e9,  # half a nano more: the spec cuts, and a float may fall short
        pids=_whole(host["PidsLimit"]) // tasks,
        open_files=ulimits["nofile"],
        file_mib=ulimits["fsize"] // MIB,
        workspace_mib=_found(_SIZE, workspace),
        workspace_inodes=_found(_INODES, workspace),
        tmp_mib=_found(_SIZE, tmp),
        shm_mib=_whole(host["ShmSize"]) // MIB,
    )


def _whole(value: Any) -> int:
    if type(value) is not int or abs(value) >= 1 << 63:
        raise TypeError(f"{str(value)[:20]} is not a whole number")
    return value


def _found(pattern: re.Pattern[str], options: str) -> int:
    match = pattern.search(options)
    if match is None:
        raise ValueError("a tmpfs without a bound")
    return int(match[1])


def _within(asked: Limits, most: Limits) -> None:
    for name, least in CHOICES.items():
        value, bound = getattr(asked, name), getattr(most, name)
        if not least <= value < bound + (1e-9 if name == "cpus" else 1):  # cpus carries half a nano
            raise Unlike(f"{name} is {value:g}; this guard lets {least:g} to {bound:g} through.")


def _difference(body: Any, spec: Any, where: str = "") -> str:
    if not (isinstance(body, dict) and isinstance(spec, dict)):
        return f"{where} is not ours" if body != spec else ""
    for key in sorted({*body, *spec}):
        path = f"{where}.{key[:60]}" if where else key[:60]
        if key not in spec:
            return f"{path} has no place in it"
        if key not in body:
            return f"{path} is missing"
        if found := _difference(body[key], spec[key], path):
            return found
    return ""
