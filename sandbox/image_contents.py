"""What is in an image (Python, Debian packages, Python packages), and in what two images differ."""

from __future__ import annotations

import json
from collections.abc import Mapping

import docker

_LIST = """
import json, platform, subprocess
from importlib.metadata import distributions
found = {"Python": platform.python_version()}
found |= {each.name: each.version for each in distributions()}
form = "-f=${db:Status-Abbrev}\\t${Package}\\t${Version}\\n"
try:
    lines = subprocess.run(["dpkg-query", "-W", form], capture_output=True, text=True, check=True).stdout.splitlines()
except FileNotFoundError:
    lines = []
for status, name, version in (line.split("\\t") for line in lines):
    if status.startswith("ii"):
        found[name + " (Debian)"] = version
print(json.dumps(found))
"""


def contents(client: docker.DockerClient, image: str) -> Mapping[str, str]:
    """The version of each thing that is installed, asked of a container without network. Raises the SDK's errors."""
    command = ["python3", "-I", "-c", _LIST]
    text: bytes = client.containers.run(
        image, [], entrypoint=command, remove=True, network_mode="none", cap_drop=["ALL"]
    )
    found: dict[str, str] = json.loads(text)
    return found


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    """A line for each thing that has another version, has come or has gone."""
    names = sorted(before.keys() | after.keys(), key=str.lower)
    return tuple(
        f"{name} {before.get(name, '-')} -> {after.get(name, '-')}"
        for name in names
        if before.get(name) != after.get(name)
    )
