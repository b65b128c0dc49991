"""docker-compose.yml: the bot runs without the Docker socket and without privileges, behind the guard."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.image_build import CA_VARIABLES
from tests.conftest import missing

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
SOCKET = "docker.sock"


def test_engine_guard_alone_holds_the_docker_socket() -> None:
    holders = [name for name, service in SERVICES.items() if SOCKET in str(service.get("volumes"))]

    assert holders == ["engine-guard"]
    assert SERVICES["threadbox"]["environment"]["DOCKER_HOST"] == "unix:///run/threadbox/engine.sock"
    assert "engine:/run/threadbox:ro" in SERVICES["threadbox"]["volumes"]
    assert "group_add" not in SERVICES["threadbox"]


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_is_privileged(name: str) -> None:
    service = SERVICES[name]

    assert service["user"] == "65532:65532"
    assert (service["cap_drop"], service["security_opt"]) == (["ALL"], ["no-new-privileges:true"])
    assert service["read_only"] is True
    assert not service.keys() & {"privileged", "cap_add", "devices", "pid", "ipc", "userns_mode"}


def test_engine_guard_has_no_network_and_no_key() -> None:
    guard = SERVICES["engine-guard"]

    assert guard["network_mode"] == "none"
    assert "env_file" not in guard
    assert [name for name in guard["environment"] if re.search("KEY|TOKEN|SECRET", name)] == []


def test_the_web_chat_is_published_on_loopback_alone() -> None:
    assert SERVICES["threadbox"]["ports"] == ["127.0.0.1:8080:8080"]


def test_bot_and_guard_name_the_same_image_and_allow_the_same_sandbox() -> None:
    """The image's tag is made of these; the guard refuses another, and a sandbox that is larger than it knows of."""
    of_both = (
        *(f"THREADBOX_{name}" for name in ("BASE_IMAGE", "IMAGE", "IMAGE_PACKAGES")),
        *(f"THREADBOX_{name}" for name in ("MEMORY_MIB", "CPUS", "RUNTIME", "WORKSPACE_MIB")),
        *("PIP_INDEX_URL", CA_VARIABLES[0]),  # the first counts
    )
    guards, bots = (
        {name: SERVICES[service]["environment"][name] for name in of_both} for service in ("engine-guard", "threadbox")
    )

    assert guards == bots


def test_every_variable_that_it_takes_is_in_the_example_file() -> None:
    example = (ROOT / ".env.example").read_text()
    taken = set(re.findall(r"\$\{([A-Z_]+)", TEXT))

    assert len(taken) > 10
    assert [name for name in sorted(taken) if f"#{name}=" not in example] == []


@pytest.mark.docker
def test_docker_compose_accepts_it_and_asks_for_what_is_missing(tmp_path: Path) -> None:
    if shutil.which("docker-compose") is None:
        missing("docker-compose", "it is not installed")
    shutil.copy(ROOT / "docker-compose.yml", tmp_path)

    def accepted(dotenv: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / ".env").write_text(dotenv)
        command = ["docker-compose", "-f", str(tmp_path / "docker-compose.yml"), "config"]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)

    whole = accepted("DOCKER_GID=1\nTHREADBOX_WEB_TOKEN=word\nTHREADBOX_MEMORY_MIB=300\n")
    without_group, without_token = accepted("THREADBOX_WEB_TOKEN=word\n"), accepted("DOCKER_GID=1\n")

    assert whole.returncode == 0, whole.stderr
    environments = [service["environment"] for service in yaml.safe_load(whole.stdout)["services"].values()]
    assert [environment["THREADBOX_MEMORY_MIB"] for environment in environments] == ["300", "300"]
    assert "set DOCKER_GID" in without_group.stderr
    assert "put THREADBOX_WEB_TOKEN" in without_token.stderr
