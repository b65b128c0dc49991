"""The sandbox images of this engine: which there are, building one on a newer base, removing the old ones."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import docker
from docker.errors import APIError

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
from sandbox.image_contents import changes, contents
from sandbox.limits import Limits
from sandbox.sandbox import Sandbox

FROM_OURS = "Build it FROM a Threadbox sandbox image (threadbox image list)."


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
    is_first: bool
    """There was no image before, so that nothing is said of changes."""
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
    """Pull the base anew, build on it, and remove the images and bases before it that no container uses. Blocks.

    The tag stays (it is named for its content but the base's digest), so a running bot takes the new image for its
    next sandbox. Raises EngineUnavailable, ImageBuildFailed.
    """
    client = connect(base_url)
    try:
        with translated_errors():
            old = _images(client, _repository(source.tag))
            before = _newest([image for image in old if source.tag in image["RepoTags"]] or old)
            had = contents(client, before) if before else {}
            build_image(client, source, newest_base(client, source.base, say), say)
            changed = changes(had, contents(client, source.tag)) if before else ()
            return Update(tag=source.tag, is_first=not before, changed=changed, removed=_prune(client, source.tag, old))
    finally:
        client.close()


def _repository(tag: str) -> str:
    return tag.rpartition(":")[0]


def _images(client: docker.DockerClient, name: str | None, **filters: Any) -> list[Mapping[str, Any]]:
    return [image.attrs for image in client.images.list(name=name, filters=filters)]


def _newest(images: list[Mapping[str, Any]]) -> str:
    return str(max(images, key=lambda attrs: str(attrs["Created"]))["Id"]) if images else ""


def _prune(client: docker.DockerClient, keep: str, old: list[Mapping[str, Any]]) -> tuple[str, ...]:
    """Remove what is not in use of the other tags, of what lost its tag now or while in use, and of their bases."""
    ours = f"{_repository(keep)}:"
    tags = [tag for image in old for tag in image["RepoTags"] if tag.startswith(ours) and tag != keep]
    names = {labels_of(image).get(LABEL_BASE) for image in old}
    untagged = _images(client, None, label=LABEL_BASE, dangling=True)
    untagged = [image for image in untagged if labels_of(image)[LABEL_BASE] in names]
    ids = [str(image["Id"]) for image in untagged]
    digests = [labels_of(image).get(LABEL_BASE_DIGEST) for image in (*old, *untagged)]
    newest = labels_of(client.images.get(keep).attrs).get(LABEL_BASE_DIGEST)
    bases = [digest for digest in digests if digest and digest != newest]
    return tuple(name for name in dict.fromkeys((*tags, *ids, *bases)) if _is_removed(client, name))


def _is_removed(client: docker.DockerClient, reference: str) -> bool:
    try:
        if "@" in reference and client.images.get(reference).tags:
            return False  # a base that somebody gave a name
        client.images.remove(reference)
    except APIError:  # a container or an image still uses it, or it went with its last tag
        return False
    return True


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
