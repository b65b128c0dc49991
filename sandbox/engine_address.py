"""Where the Docker Engine listens: DOCKER_HOST, the docker context, then the places where engines usually do."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from docker.context import ContextAPI
from docker.utils import kwargs_from_env

from sandbox.errors import EngineUnavailable

USUAL = (
    "/var/run/docker.sock",
    "{runtime}/docker.sock",  # rootless
    "{home}/.docker/run/docker.sock",  # Docker Desktop
    "{home}/.docker/desktop/docker.sock",
    "{home}/.colima/default/docker.sock",
    "{home}/.orbstack/run/docker.sock",
)
DEFAULT = "unix:///var/run/docker.sock"
SPOKEN = ("unix", "http+unix", "tcp", "http", "https")


def client_parameters(environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What the SDK's client takes: `base_url`, and `tls` where that is. Raises EngineUnavailable for ssh and npipe."""
    environment = os.environ if environment is None else environment  # noqa: TID251 - the SDK's own variables
    found: dict[str, Any] = kwargs_from_env(environment=dict(environment))
    if "base_url" not in found:
        for name, value in ContextAPI.kwargs_from_context(environment=dict(environment)).items():
            found.setdefault(name, value)
        if found.get("base_url", DEFAULT) == DEFAULT:  # what the default context says, whether it is there or not
            found["base_url"] = _usual(environment)
    scheme = str(found["base_url"]).partition("://")[0]
    if scheme not in SPOKEN:
        raise EngineUnavailable(
            f"Threadbox does not speak to a Docker Engine over {scheme}://.",
            mend="Set DOCKER_HOST to its unix:// or tcp:// address; ssh -L can bring a remote socket here.",
        )
    return found


def _usual(environment: Mapping[str, str]) -> str:
    """The first socket that we may use, or the first place of all, so that its absence is what is told."""
    home = environment.get("HOME") or str(Path.home())
    runtime = environment.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    places = [Path(place.format(home=home, runtime=runtime)) for place in USUAL]
    return f"unix://{next((place for place in places if os.access(place, os.W_OK)), places[0])}"
