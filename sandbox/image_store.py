"""The sandbox images of this engine: which there are, building one on a newer base, removing the old ones."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import docker
from docker.errors import APIError, ImageNotFound

from sandbox.contract import LABEL, Engine, Outcome
from sandbox.engine import connect, translated_errors
from sandbox.errors import EngineUnavailable, SandboxError
from sandbox.image_build import REPOSITORY, STANDIN_BASE, ImageSource, Say, build_image
from sandbox.limits import Limits
from sandbox.sandbox import Sandbox

FROM_OURS = "Build it FROM a Threadbox sandbox image (threadbox image list)."
LABEL_BASE = f"{LABEL}.base"
LABEL_BASE_ID = f"{LABEL}.base-id"
_LIST_PACKAGES = (
    "from importlib.metadata import distributions as d; print(*sorted({x.name + '==' + x.version for x in d()}))"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxImage:
    """One image; `base_id` is the digest of the base that it was built on."""

    tag: str
    image_id: str
    created: str
    size_bytes: int
    base: str
    base_id: str


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
    config = attrs.get("Config")
    labels = (config.get("Labels") if isinstance(config, dict) else None) or {}
    return SandboxImage(
        tag=tag,
        image_id=str(attrs["Id"]),
        created=str(attrs["Created"])[:19],
        size_bytes=int(str(attrs["Size"])),
        base=str(labels.get(LABEL_BASE, "")),
        base_id=str(labels.get(LABEL_BASE_ID, "")),
    )


def update_image(source: ImageSource, say: Say, base_url: str | None = None) -> Update:
    """Pull the base anew, build on it, and remove the images that no container uses. Blocks.

    The tag stays (it is named for its content but the base's digest), so a running bot takes the new image for its
    next sandbox. Raises EngineUnavailable, ImageBuildFailed.
    """
    client = connect(base_url)
    try:
        with translated_errors():
            before = _packages(client, source.tag)
            _pull(client, source.base, say)
            build_image(client, source, say)
            after = _packages(client, source.tag)
            return Update(tag=source.tag, changed=_changes(before, after), removed=_prune(client, source.tag))
    finally:
        client.close()


def _pull(client: docker.DockerClient, base: str, say: Say) -> None:
    if base == STANDIN_BASE:
        return
    try:
        client.images.pull(base)
    except (APIError, ImageNotFound) as error:
        say(f"base image: {base} cannot be pulled ({str(error)[:120]}); the one that is here stays")


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


def _prune(client: docker.DockerClient, keep: str) -> tuple[str, ...]:
    removed = []
    for image in client.images.list(name=REPOSITORY):
        for tag in image.tags:
            if tag == keep:
                continue
            try:
                client.images.remove(tag)
                removed.append(tag)
            except APIError:  # a container still uses it
                continue
    return tuple(removed)


async def check_image(engine: Engine, image: str) -> None:
    """Whether the engine's image can be a sandbox: one is started. Raises SandboxError with what is missing."""
    try:
        sandbox = await Sandbox.start(engine, f"check-{os.urandom(4).hex()}", Limits())
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
