"""A Docker Engine whose containers gVisor runs, for the suites that hold there too."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from sandbox.engine import DockerEngine
from tests.doubles.own_engine import OwnEngine

IMAGE = "threadbox-gvisor:test"
LEFT_OUT = [f"*/dist-packages/{name}*" for name in ("pandas", "matplotlib", "scipy", "numpy", "sympy", "fontTools", "PIL", "pillow", "mpmath")]  # fmt: skip
"""Two thirds of the image, which no test asks gVisor for."""
ARGUMENTS = ("--platform=ptrace", "--network=none")  # runs on any machine, virtual or not
WITH_LIMITS, WITHOUT_LIMITS = "runsc", "runsc-without-limits"
RUNTIMES = {
    WITH_LIMITS: {"path": "runsc", "runtimeArgs": [*ARGUMENTS]},
    WITHOUT_LIMITS: {"path": "runsc", "runtimeArgs": [*ARGUMENTS, "--ignore-cgroups"]},
}


@dataclass(frozen=True)
class GvisorEngine:
    """An engine of ours that has the image and the runtime."""

    own: OwnEngine
    runtime: str

    @classmethod
    def start(cls, folder: Path, image: str) -> GvisorEngine:
        """With limits where runsc can set them here. Raises RuntimeError for what is missing."""
        if lacks := OwnEngine.lacks() or ("" if shutil.which("runsc") else "there is no runsc"):
            raise RuntimeError(lacks)
        own = OwnEngine(folder, RUNTIMES)
        with ExitStack() as stack:
            stack.callback(own.stop)
            own.start()
            own.take(image, IMAGE, LEFT_OUT)
            error = ""
            for runtime in RUNTIMES:
                command = ["docker", "-H", own.url, "run", "--rm", "--network=none", "--memory=64m"]
                done = subprocess.run(
                    [*command, f"--runtime={runtime}", IMAGE, "true"], capture_output=True, text=True, timeout=60
                )
                if done.returncode == 0:
                    stack.pop_all()
                    return cls(own, runtime)
                error = done.stderr
            raise RuntimeError(error)

    def connect(self, instance: str) -> DockerEngine:
        """The port to it."""
        name = f"{instance}-{os.urandom(4).hex()}"
        return DockerEngine(image=IMAGE, instance=name, base_url=self.own.url, runtime=self.runtime)


def expect(items: list[pytest.Item], failures: Mapping[str, str]) -> None:
    """Mark what is known to fail under gVisor: by the test's name, or by that and its parameters; with the reason."""
    for item in items:
        name, _, parameters = item.name.partition("[")
        if "gvisor" not in parameters:
            continue
        rest = "-".join(part for part in parameters.rstrip("]").split("-") if part != "gvisor")
        reason = failures.get(f"{name}[{rest}]") or failures.get(name)
        if reason:
            item.add_marker(pytest.mark.xfail(reason=reason, strict=True))
