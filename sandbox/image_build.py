"""Builds the sandbox image: a tag named for its content, so that an image is never stale and never rebuilt in vain."""

from __future__ import annotations

import hashlib
import io
import os
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import docker
from docker.errors import ImageNotFound

from sandbox.engine import connect, translated_errors
from sandbox.errors import ImageBuildFailed
from sandbox.image_base import REPOSITORY, BaseImage, Say, find_base

DEFAULT_BASE = "python:3.13-slim-bookworm"
CA_VARIABLES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE")
BUILD_ARGUMENTS = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "PIP_INDEX_URL")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSource:
    """What goes into the image; `environment` is the operator's (CA bundle, proxies, index)."""

    base: str = DEFAULT_BASE
    packages: tuple[str, ...] = ()
    """Requirements of the operator's, beyond ours; name==version, since an image is to be the same tomorrow."""
    environment: Mapping[str, str]

    def files(self) -> dict[str, bytes]:
        """The build context, by name."""
        root = resources.files("sandbox")
        files = {name: root.joinpath(f"image/{name}").read_bytes() for name in ("Dockerfile", "requirements.txt")}
        for entry in root.joinpath("inside").iterdir():
            if entry.name.endswith(".py"):
                files[f"inside/{entry.name}"] = entry.read_bytes()
        files["extra.txt"] = "".join(f"{line}\n" for line in self.packages).encode()
        files["ca.pem"] = self._ca_bundle()
        return files

    def _ca_bundle(self) -> bytes:
        for variable in CA_VARIABLES:
            path = Path(self.environment.get(variable) or "/nonexistent")
            if path.is_file():
                return path.read_bytes()
        return b""

    @property
    def tag(self) -> str:
        """The image's name, which changes whenever its content would."""
        digest = hashlib.sha256(self.base.encode())
        for name, data in sorted(self.files().items()):
            digest.update(name.encode() + b"\0" + hashlib.sha256(data).digest())
        index = self.environment.get("PIP_INDEX_URL") or ""
        if index and "@" not in index:  # the Dockerfile writes it into pip's configuration, but no password
            digest.update(index.encode())
        return f"{REPOSITORY}:{digest.hexdigest()[:16]}"


def ensure_image(source: ImageSource, say: Say, *, base_url: str | None = None) -> str:
    """The image's tag, built first if it is not there. Blocks. Raises EngineUnavailable, ImageBuildFailed."""
    client = connect(base_url)
    try:
        with translated_errors():
            try:
                client.images.get(source.tag)
            except ImageNotFound:
                build_image(client, source, find_base(client, source.base, say), say)
            return source.tag
    finally:
        client.close()


def build_image(client: docker.DockerClient, source: ImageSource, base: BaseImage, say: Say) -> None:
    """Build it, whether or not it is there. Raises ImageBuildFailed."""
    arguments = {"BASE": base.reference}
    arguments |= {name: source.environment[name] for name in BUILD_ARGUMENTS if source.environment.get(name)}
    last: list[str] = []
    for event in client.api.build(
        fileobj=_context(source.files()),
        custom_context=True,
        tag=source.tag,
        buildargs=arguments,
        labels=base.labels,
        network_mode="host",  # the engine's own bridge may not reach the index
        rm=True,
        forcerm=True,
        decode=True,
    ):
        _tell(event, say, last)


def _tell(event: dict[str, Any], say: Say, last: list[str]) -> None:
    if "error" in event:
        raise ImageBuildFailed("The sandbox image could not be built:\n" + "\n".join([*last[-15:], event["error"]]))
    for line in str(event.get("stream", "")).splitlines():
        if line.strip():
            last.append(line.strip())
            say(line.strip()[:160])


def _context(files: dict[str, bytes]) -> io.BytesIO:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, data in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    archive.seek(0)
    return archive


def main() -> None:
    """Build the image from the command line: python -m sandbox.image_build."""
    source = ImageSource(environment=os.environ)  # noqa: TID251 - stand-alone use has no settings of ours
    tag = ensure_image(source, lambda line: print(line, file=sys.stderr))  # noqa: T201
    print(tag)  # noqa: T201


if __name__ == "__main__":
    main()
