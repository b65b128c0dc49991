"""The sandbox images of this engine: which there are, building one on a newer base, removing the old ones."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import docker
from docker.errors import APIError, ImageNotFound

from sandbox.contract import Engine, Outcome
from sandbox.engine import connect, translated_errors
from sandbox.errors import EngineUnavailable, SandboxError
from sandbox.image_base import (
    LABEL_BASE,
    LABEL_BASE_DIGEST,
    LABEL_BASE_ID,
    REPOSITORY,
    Say,
    labels_of,
    newest_base,
)
from sandbox.image_build import ImageSource, build_image
from sandbox.limits import Limits
from sandbox.sandbox import Sandbox

FROM_OURS = "Build it FROM a Threadbox sandbox image (threadbox image list)."
_LIST_PACKAGES = (
    "from importlib.metadata import distributions as d; print(*sorted({x.name + '==' + x.version for x in d()}))"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxImage:
    """One image; `base_digest` is what its base is pinned to, empty where that is of this machine."""

    tag: str
    image_id: str
    created: str
    size_bytes: int
    base: str
    base_id: str
    base_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """What an update did: the new image, what changed in it, what was removed."""

    tag: str
    changed: tuple[str, ...]
    removed: tuple[str, ...]


def list_images(base_url: str | None = None) -> list[SandboxImage]:
    """Ours, the newest first. Blocks. Raises EngineUnavailable."""
    client = connect(base_url)
    try:
        with translated_errors():
            found = [
                _described(tag, image.attrs) for image in client.images.list(name=REPOSITORY) for tag in image.tags
            ]
    finally:
        client.close()
    return sorted(found, key=lambda image: image.created, reverse=True)


def _described(tag: str, attrs: Mapping[str, object]) -> SandboxImage:
    labels = labels_of(attrs)
    return SandboxImage(
        tag=tag,
        image_id=str(attrs["Id"]),
        created=str(attrs["Created"])[:19],
        size_bytes=int(str(attrs["Size"])),
        base=labels.get(LABEL_BASE, ""),
        base_id=labels.get(LABEL_BASE_ID, ""),
        base_digest=labels.get(LABEL_BASE_DIGEST, ""),
    )


def update_image(source: ImageSource, say: Say, base_url: str | None = None) -> Update:
    """Pull the base anew, build on it, and remove the images that no container uses. Blocks.

    The tag stays (it is named for its content but the base's digest), so a running bot takes the new image for its
    next sandbox. Raises EngineUnavailable, ImageBuildFailed.
    """
    client = connect(base_url)
    try:
        with translated_errors():
            replaced = [image.id for image in client.images.list(name=source.tag)]
            before = _packages(client, source.tag)
            build_image(client, source, newest_base(client, source.base, say), say)
            after = _packages(client, source.tag)
            removed = _prune(client, source.tag, replaced)
            return Update(tag=source.tag, changed=_changes(before, after), removed=removed)
    finally:
        client.close()


def _packages(client: docker.DockerClient, tag: str) -> set[str]:
    """What is installed in an image, asked of a container without network; nothing for an image that is not there."""
    try:
        text: bytes = client.containers.run(
            tag, ["python3", "-I", "-c", _LIST_PACKAGES], remove=True, network_mode="none", cap_drop=["ALL"]
        )
    except ImageNotFound:
        return set()
    return set(text.decode().split())


def _changes(before: set[str], after: set[str]) -> tuple[str, ...]:
    gone = {item.partition("==")[0]: item.partition("==")[2] for item in before - after}
    come = {item.partition("==")[0]: item.partition("==")[2] for item in after - before}
    return tuple(f"{name} {gone.get(name, '-')} -> {come.get(name, '-')}" for name in sorted(gone.keys() | come.keys()))


def _prune(client: docker.DockerClient, keep: str, replaced: list[str]) -> tuple[str, ...]:
    """Remove the other tags, and what had this one until now, as far as no container uses them."""
    kept = client.images.get(keep).id
    tags = [tag for image in client.images.list(name=REPOSITORY) for tag in image.tags if tag != keep]
    removed = []
    for reference in (*tags, *(image_id for image_id in replaced if image_id != kept)):
        try:
            client.images.remove(reference)
            removed.append(reference)
        except (APIError, ImageNotFound):  # a container still uses it, or it went with its last tag
            continue
    return tuple(removed)


async def check_image(engine: Engine, image: str, limits: Limits) -> None:
    """Whether the engine's image can be a sandbox: one is started. Raises SandboxError with what is missing."""
    try:
        sandbox = await Sandbox.start(engine, f"check-{os.urandom(4).hex()}", limits)
    except EngineUnavailable:
        raise
    except SandboxError as error:
        raise SandboxError(f"{image} is no sandbox image: {error}", mend=FROM_OURS) from error
    try:
        events = [event async for event in sandbox.run("import cloudpickle, IPython")]
    finally:
        await sandbox.remove()
    end = events[-1]
    if isinstance(end, Outcome) and end.status != "ok":
        raise SandboxError(f"{image} is no sandbox image: {end.error_message}", mend=FROM_OURS)
