"""`threadbox run` as a process, and a person who writes to its web chat over HTTP."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import docker
import httpx

from sandbox.contract import LABEL_INSTANCE
from tests.doubles.command import Command, end, start

Begin = Callable[[Sequence[str], dict[str, str], Path, Sequence[int]], Command | subprocess.Popen[bytes]]
READY = re.compile(r"Threadbox is ready: (\S+)")
CLEARED = (
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "THREADBOX_MODEL",
    "THREADBOX_DATA_DIR",
    "SLACK_BOT_TOKEN",
    "SLACK_APP_TOKEN",
    "SLACK_SIGNING_SECRET",
    "SLACK_API_URL",
    "DISCORD_BOT_TOKEN",
    "DISCORD_API_URL",
    "DISCORD_GATEWAY_URL",
)


def environment(folder: Path, **settings: str) -> dict[str, str]:
    """This process's environment with nothing of the operator's model in it."""
    kept = {name: value for name, value in os.environ.items() if name not in CLEARED}
    return {**kept, "THREADBOX_DATA_DIR": str(folder / "data"), "THREADBOX_WEB_PORT": "0", **settings}


@dataclass
class Process:
    """A running `threadbox run`."""

    process: Command | subprocess.Popen[bytes]
    url: str
    log: Path
    client: httpx.Client

    def kill(self) -> None:
        """As a power cut does."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def post(self, path: str, **form: str) -> httpx.Response:
        """What our own page would send."""
        page = self.client.get(f"{self.url}/c/direct").text
        found = re.search(r'"X-CSRF-Token": "(\w+)"', page)
        assert found is not None
        headers = {"Origin": self.url, "X-CSRF-Token": found[1]}
        return self.client.post(self.url + path, data=form, headers=headers)

    def begin(self, text: str) -> str:
        """A new thread in the direct channel; its address."""
        answer = self.post("/c/direct/messages", text=text)
        assert answer.status_code == 200, answer.text
        return answer.headers["HX-Redirect"]

    def page(self, thread: str) -> str:
        return self.client.get(self.url + thread).text

    def wait_for(self, thread: str, text: str, seconds: float = 30) -> str:
        """The thread's page, once it shows `text`."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            page = self.page(thread)
            if text in page:
                return page
            time.sleep(0.1)
        raise AssertionError(f"{text!r} never came; log: {self.log.read_text()[-3000:]}; page: {page[-3000:]}")


@contextmanager
def threadbox(folder: Path, begin: Begin = start, **settings: str) -> Iterator[Process]:
    """Start and wait until it is ready; at the end, stop it as an operator would."""
    log = folder / f"log-{time.monotonic_ns()}"
    with log.open("wb") as output, open(os.devnull, "rb") as null:
        streams = [file.fileno() for file in (null, output, output)]
        process = begin(["run"], environment(folder, **settings), folder, streams)
    try:
        until = time.monotonic() + 60
        while (found := READY.search(log.read_text())) is None:
            assert process.poll() is None and time.monotonic() < until, log.read_text()
            time.sleep(0.05)
        with httpx.Client(timeout=30, follow_redirects=True) as client:
            yield Process(process, found[1], log, client)
    finally:
        end(process)


def containers(folder: Path) -> list[str]:
    """Ids of the containers of the Threadbox in this folder."""
    path = folder / "data" / "instance.json"
    if not path.exists():
        return []
    client = docker.from_env()
    label = f"{LABEL_INSTANCE}={json.loads(path.read_text())['instance']}"
    found = [str(item["Id"]) for item in client.api.containers(all=True, filters={"label": label})]
    client.close()
    return found


def remove_containers(folder: Path) -> None:
    """As if the machine had gone down."""
    client = docker.from_env()
    for container_id in containers(folder):
        client.api.remove_container(container_id, force=True)
    client.close()
