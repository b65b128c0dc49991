"""Which Docker Engine is spoken to."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from sandbox import engine_address
from sandbox.engine_address import EnginePlace, client_parameters, engine_place
from sandbox.errors import EngineUnavailable


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of somebody with no engine; the SDK reads its contexts from there too."""
    places = [place for place in engine_address.USUAL if not place.startswith("/")]
    monkeypatch.setattr(engine_address, "USUAL", (str(tmp_path / "none.sock"), *places))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / ".docker"))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.delenv("DOCKER_CONTEXT", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    return tmp_path


def listening(path: Path) -> socket.socket:
    path.parent.mkdir(parents=True, exist_ok=True)
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    return server


def test_docker_host_is_asked_first(home: Path) -> None:
    with listening(home / "run/docker.sock"):
        found = client_parameters({"DOCKER_HOST": "tcp://10.0.0.5:2375", "HOME": str(home)})

    assert found["base_url"] in ("tcp://10.0.0.5:2375", "http://10.0.0.5:2375")


@pytest.mark.parametrize(
    "place",
    [
        "run/docker.sock",
        ".docker/run/docker.sock",
        ".docker/desktop/docker.sock",
        ".colima/default/docker.sock",
        ".orbstack/run/docker.sock",
    ],
)
def test_an_engine_is_found_where_they_usually_listen(home: Path, place: str) -> None:
    with listening(home / place):
        found = client_parameters({"HOME": str(home), "XDG_RUNTIME_DIR": str(home / "run")})

    assert found["base_url"] == f"unix://{home / place}"
    assert engine_place(found) == EnginePlace(str(home / place))


@pytest.mark.parametrize("url", ["ssh://me@there", "npipe:////./pipe/docker_engine"])
def test_what_we_do_not_speak_is_one_clear_line(home: Path, url: str) -> None:
    with pytest.raises(EngineUnavailable, match=f"does not speak to a Docker Engine over {url.partition(':')[0]}://"):
        client_parameters({"DOCKER_HOST": url, "HOME": str(home)})


@pytest.mark.parametrize(
    ("url", "socket"),
    [
        ("unix:///run/other.sock", "/run/other.sock"),
        ("tcp://10.0.0.5:2376", ("10.0.0.5", 2376)),
        ("tcp://10.0.0.5", ("10.0.0.5", 2375)),
    ],
)
def test_our_own_connections_go_where_docker_host_says(home: Path, url: str, socket: object) -> None:
    assert engine_place(client_parameters({"DOCKER_HOST": url, "HOME": str(home)})) == EnginePlace(socket)


def test_an_engine_with_tls_is_never_spoken_to_in_the_clear(home: Path) -> None:
    (home / ".docker").mkdir()
    for name in ("ca", "cert", "key"):
        (home / ".docker" / f"{name}.pem").touch()
    environment = {"DOCKER_HOST": "tcp://10.0.0.5:2376", "DOCKER_TLS_VERIFY": "1", "HOME": str(home)}

    with pytest.raises(EngineUnavailable, match="certificates for the Docker Engine cannot be read") as caught:
        engine_place(client_parameters(environment))

    assert "DOCKER_CERT_PATH" in caught.value.mend
    assert engine_place({"base_url": "https://10.0.0.5"}).tls is not None
