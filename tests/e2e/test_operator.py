"""What an operator does: look at sandboxes, end one, clean up, look at images."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import docker
import pytest

from sandbox.contract import LABEL, LABEL_INSTANCE
from sandbox.instances import process_instance
from tests.doubles import command
from tests.e2e.threadbox import containers, environment, threadbox

pytestmark = [pytest.mark.docker, pytest.mark.usefixtures("image")]


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return command.run(arguments, environment(folder), folder)


def rows(folder: Path) -> list[dict[str, object]]:
    done = run(folder, "sandboxes", "list", "--json")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_named_conversation_is_kept_and_listed_until_its_next_turn(tmp_path: Path) -> None:
    first = run(tmp_path, "ask", "--thread", "demo", "```\nx = 41\nopen('a.txt', 'w').write('hi')\n```")
    (row,) = rows(tmp_path)
    piped = run(tmp_path, "sandboxes", "list").stdout
    second = run(tmp_path, "ask", "--thread", "demo", "```\nprint(x + 1, open('a.txt').read())\n```")

    assert first.returncode == second.returncode == 0
    assert (row["thread"], row["state"], row["last_cell"]) == ("terminal/local/terminal/demo", "saved", "x = 41")
    assert "terminal/local/terminal/demo" in piped
    assert "Brought back after a pause: 1 file and variables x." in second.stdout
    assert "42 hi" in second.stdout
    assert containers(tmp_path) == []


def test_a_killed_sandbox_is_told_in_its_thread(tmp_path: Path) -> None:
    with threadbox(tmp_path, THREADBOX_WARM_MOST="0", THREADBOX_WARM_LEAST="0") as running:
        thread = running.begin("```\nx = 41\nprint('kept')\n```")
        running.wait_for(thread, "<samp>kept")
        running.wait_for(thread, 'class="status done"')
        (row,) = rows(tmp_path)
        beside = run(tmp_path, "sandboxes", "prune")
        done = run(tmp_path, "sandboxes", "kill", str(row["id"]))
        nothing = run(tmp_path, "sandboxes", "kill", str(row["id"]))
        running.post(f"{thread}/messages", text="```\nprint(x)\n```")
        page = running.wait_for(thread, "NameError")

    assert row["state"] == "running" and int(str(row["memory_bytes"])) > 1_000_000
    assert "The bot runs" in beside.stdout + beside.stderr
    assert (done.returncode, nothing.returncode) == (0, 1)
    assert "No sandbox is called" in nothing.stderr
    assert "This thread has a new sandbox" in page


def test_prune_removes_what_dead_processes_left_and_nothing_of_the_living(tmp_path: Path, image: str) -> None:
    client = docker.from_env()
    living = process_instance()
    ended = living.replace(living.split("-")[-2], "12345")  # the moment that this process began
    made = {
        name: client.containers.create(image, labels={LABEL: "1", LABEL_INSTANCE: name}, network_mode="none")
        for name in (living, ended)
    }

    done = run(tmp_path, "sandboxes", "prune")
    left = {item.id for item in client.containers.list(all=True)}
    made[living].remove()
    client.close()

    assert done.returncode == 0, done.stderr
    assert made[living].id in left
    assert made[ended].id not in left


def test_the_image_in_use_is_marked(tmp_path: Path, image: str) -> None:
    done = run(tmp_path, "image", "list")

    assert done.returncode == 0, done.stderr
    assert f"* {image}" in done.stdout


def test_an_image_that_is_no_sandbox_is_refused_with_the_mend(tmp_path: Path) -> None:
    client = docker.from_env()
    base = client.images.list(name="threadbox-base") or client.images.list(name="python")
    client.close()
    settings = environment(tmp_path, THREADBOX_IMAGE=base[0].tags[0])

    done = command.run(["exec", "-"], settings, tmp_path, "1")

    assert done.returncode == 2
    assert "is no sandbox image" in done.stderr
    assert "Build it FROM a Threadbox sandbox image" in done.stderr
