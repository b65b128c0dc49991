"""Where the Docker Engine listens: DOCKER_HOST, the docker context, then the places where engines usually do."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from docker.context import ContextAPI
from docker.tls import TLSConfig
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
MEND = "Set DOCKER_HOST to its unix:// or tcp:// address; ssh -L can bring a remote socket here."
DEFAULT = "unix:///var/run/docker.sock"
SPOKEN = ("unix", "http+unix", "tcp", "http", "https")


@dataclass(frozen=True, slots=True)
class EnginePlace:
    """What a connection of our own goes to: a unix socket's path, or host and port, with TLS where that is."""

    socket: str | tuple[str, int]
    tls: ssl.SSLContext | None = None


def engine_place(parameters: Mapping[str, Any]) -> EnginePlace:
    """The place of a client with these parameters. Blocks: certificates are read. Raises EngineUnavailable."""
    url, config = str(parameters["base_url"]), parameters.get("tls")
    parts = urlsplit(url)
    if parts.scheme in ("unix", "http+unix") and parts.path:
        return EnginePlace(parts.path)
    if not parts.hostname or parts.scheme not in ("tcp", "http", "https"):
        raise EngineUnavailable(f"{url} is no address of a Docker Engine.", mend=MEND)
    if parts.scheme == "https" or config:
        return EnginePlace((parts.hostname, parts.port or 2376), _context(config))
    return EnginePlace((parts.hostname, parts.port or 2375))


def _context(config: object) -> ssl.SSLContext:
    """What the SDK takes of a TLSConfig, for connections of our own."""
    try:
        if not isinstance(config, TLSConfig):
            return ssl.create_default_context()
        context = ssl.create_default_context(cafile=config.ca_cert)
        if not config.verify:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if config.cert:
            context.load_cert_chain(*config.cert)
    except (OSError, ssl.SSLError) as error:
        raise EngineUnavailable(
            f"The certificates for the Docker Engine cannot be read ({error}).",
            mend="Look at DOCKER_CERT_PATH: ca.pem, cert.pem and key.pem.",
        ) from error
    return context


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
            mend=MEND,
        )
    return found


def _usual(environment: Mapping[str, str]) -> str:
    """The first socket that we may use, or the first place of all, so that its absence is what is told."""
    home = environment.get("HOME") or str(Path.home())
    runtime = environment.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    places = [Path(place.format(home=home, runtime=runtime)) for place in USUAL]
    return f"unix://{next((place for place in places if os.access(place, os.W_OK)), places[0])}"
