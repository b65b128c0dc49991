"""A second Docker Engine for tests that stop it, or that give it another runtime."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import docker

NOT_FILES = ("./proc", "./sys", "./dev", "./usr/share", "*.a")
UP_SECONDS = 30.0


class OwnEngine:
    """In a folder of its own, without a network. Needs root; the folder's path is short, as a socket's must be."""

    def __init__(self, folder: Path, runtimes: dict[str, Any] | None = None) -> None:
        self.url = f"unix://{folder / 's'}"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "daemon.json").write_text(json.dumps({"runtimes": runtimes or {}}))

    @staticmethod
    def lacks() -> str:
        """What is not there for it; nothing when it can be tried."""
        if os.getuid() != 0:
            return "it needs root"
        return "" if shutil.which("dockerd") else "there is no dockerd"

    def start(self) -> None:
        """Return when it answers. Raises RuntimeError."""
        folder = self._folder
        with (folder / "log").open("ab") as output:
            self._process = subprocess.Popen(
                # in a network of its own: --bridge=none removes the docker0 that the machine's own engine needs
                ["unshare", "--net", "dockerd", "--config-file", f"{folder}/daemon.json",
                 "--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec", "--pidfile", f"{folder}/pid",
                 "-H", self.url, "--bridge=none", "--iptables=false", "--ip6tables=false"],
                stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        until = time.monotonic() + UP_SECONDS
        while time.monotonic() < until and self._process.poll() is None:
            ping = ["docker", "-H", self.url, "version"]
            if subprocess.run(ping, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0:
                return
            time.sleep(0.1)
        raise RuntimeError((folder / "log").read_text()[-500:])

    def stop(self) -> None:
        """As an operator stops it: the engine ends its containers."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(UP_SECONDS)

    def take(self, image: str, name: str, without: Sequence[str]) -> None:
        """Import what a test needs of an image of the machine's own engine, with that image's settings."""
        with contextlib.closing(docker.from_env()) as client:
            config = client.images.get(image).attrs["Config"]
        changes = [f"ENV {name}" for name in config["Env"]] + [f"WORKDIR {config['WorkingDir']}"]
        changes.append("CMD [" + ", ".join(f'"{word}"' for word in config["Cmd"]) + "]")
        # no log: the engine would write all that passes to the disk once more
        pack = ["docker", "run", "--rm", "--log-driver=none", "--network=none", "--user=0", "--entrypoint=tar"]
        leave = [f"--exclude={path}" for path in (*NOT_FILES, *without)]
        with subprocess.Popen([*pack, image, "-c", "-C", "/", *leave, "."], stdout=subprocess.PIPE) as packing:
            load = ["docker", "-H", self.url, "import", *(f"--change={change}" for change in changes), "-", name]
            subprocess.run(load, stdin=packing.stdout, check=True, stdout=subprocess.DEVNULL)
