"""The image that the sandbox image is built on: found here, pulled, or made where no registry can be reached.

What was pulled is known by its digest, and stays in use until an update asks for a newer one.
"""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import docker
from docker.errors import APIError, ImageNotFound

from sandbox.contract import LABEL
from sandbox.errors import ImageBuildFailed

REPOSITORY = "threadbox-sandbox"
STANDIN_BASE = "threadbox-base:bookworm"
"""Made with debootstrap where no registry can be reached."""
LABEL_BASE = f"{LABEL}.base"
LABEL_BASE_ID = f"{LABEL}.base-id"
LABEL_BASE_DIGEST = f"{LABEL}.base-digest"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseImage:
    """A base that is on this engine."""

    name: str
    image_id: str
    digest: str
    """repository@sha256:… as its registry knows it; empty for one that was made or loaded here."""

    @property
    def reference(self) -> str:
        """What to build from."""
        return self.digest or self.name

    @property
    def labels(self) -> dict[str, str]:
        """What the sandbox image says of it."""
        return {LABEL_BASE: self.name, LABEL_BASE_ID: self.image_id, LABEL_BASE_DIGEST: self.digest}


def find_base(client: docker.DockerClient, name: str, say: Say) -> BaseImage:
    """The one used before, the one that is here, or one that is pulled or made now. Raises ImageBuildFailed."""
    for reference in filter(None, (_pinned(client, name), name)):
        if _is_here(client, reference) or _pull(client, reference, say):
            return _told(_described(client, name, reference), say)
    return _standin(client, say)


def newest_base(client: docker.DockerClient, name: str, say: Say) -> BaseImage:
    """What the registry has under this name now, or else what is here or made now. Raises ImageBuildFailed."""
    if name != STANDIN_BASE and _pull(client, name, say):
        return _told(_described(client, name, name), say)
    for reference in filter(None, (_pinned(client, name), name)):
        if _is_here(client, reference):
            return _told(_described(client, name, reference), say)
    return _standin(client, say)


def _standin(client: docker.DockerClient, say: Say) -> BaseImage:
    if not _is_here(client, STANDIN_BASE):
        _make_standin(client, say)
    return _told(_described(client, STANDIN_BASE, STANDIN_BASE), say)


def _pinned(client: docker.DockerClient, name: str) -> str:
    """The digest that our newest image on this base was built on."""
    ours = [image.attrs for image in client.images.list(name=REPOSITORY)]
    for attrs in sorted(ours, key=lambda attrs: str(attrs["Created"]), reverse=True):
        labels = labels_of(attrs)
        if labels.get(LABEL_BASE) == name:
            return labels.get(LABEL_BASE_DIGEST, "")
    return ""


def labels_of(attrs: Mapping[str, Any]) -> Mapping[str, str]:
    """The labels of an image, from the engine's word on it."""
    return (attrs.get("Config") or {}).get("Labels") or {}


def _is_here(client: docker.DockerClient, reference: str) -> bool:
    try:
        client.images.get(reference)
    except ImageNotFound:
        return False
    return True


def _pull(client: docker.DockerClient, reference: str, say: Say) -> bool:
    say(f"base image: pulling {reference}")
    try:
        client.images.pull(reference)
    except (APIError, ImageNotFound) as error:
        say(f"base image: {reference} cannot be pulled ({str(error.explanation or error)[:160]})")
        return False
    return True


def _described(client: docker.DockerClient, name: str, reference: str) -> BaseImage:
    attrs = client.images.get(reference).attrs
    repository = name.partition("@")[0]
    if ":" in repository.rpartition("/")[2]:
        repository = repository.rpartition(":")[0]
    digests = [str(digest) for digest in attrs.get("RepoDigests") or []]
    digest = next((digest for digest in digests if digest.partition("@")[0] == repository), "")
    return BaseImage(name=name, image_id=str(attrs["Id"]), digest=digest)


def _told(base: BaseImage, say: Say) -> BaseImage:
    if base.digest:
        say(f"base image: {base.name}, pinned as {base.digest}")
    else:
        say(f"base image: {base.name}, which is of this machine and has no digest; no update reaches it")
    return base


def _make_standin(client: docker.DockerClient, say: Say) -> None:
    if shutil.which("debootstrap") is None:
        raise ImageBuildFailed(
            "No registry can be reached and there is no debootstrap to make a base image with.",
            mend="Allow the registry, load a base image (THREADBOX_BASE_IMAGE), or: apt-get install debootstrap",
        )
    say(f"base image: making a stand-in with debootstrap ({STANDIN_BASE}), about a minute")
    with tempfile.TemporaryDirectory(prefix="threadbox-base-") as folder:
        packages = "--include=python3,python3-venv,python3-pip,ca-certificates"
        command = ["debootstrap", "--variant=minbase", packages, "bookworm", folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - fixed words
        if done.returncode != 0:
            raise ImageBuildFailed(f"debootstrap failed: {done.stdout[-500:]} {done.stderr[-500:]}")
        with tempfile.NamedTemporaryFile(prefix="threadbox-base-", suffix=".tar") as archive:
            with tarfile.open(fileobj=archive, mode="w") as tar:
                tar.add(folder, arcname=".")
            archive.flush()
            repository, tag = STANDIN_BASE.split(":")
            # not import_image_from_stream: SDK 7.2 announces chunks there and sends none
            client.api.import_image_from_file(archive.name, repository=repository, tag=tag)
