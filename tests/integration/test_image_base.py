"""The base of the sandbox image is pinned: by digest what was pulled, in plain words what was not."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import docker
import pytest
from docker.errors import ImageNotFound

from sandbox.engine import connect
from sandbox.image_base import LABEL_BASE, find_base, newest_base
from sandbox.image_build import ImageSource, build_image, ensure_image
from sandbox.image_store import SandboxImage, list_images
from tests.doubles.registry import Registry, registry

pytestmark = [pytest.mark.docker, pytest.mark.usefixtures("image")]


class SmallSource(ImageSource):
    """Nothing but the base, since this is about where that comes from."""

    def files(self) -> dict[str, bytes]:
        return {"Dockerfile": b"ARG BASE\nFROM ${BASE}\nENV SMALL=1\n"}


@pytest.fixture
def client() -> Iterator[docker.DockerClient]:
    client = connect()
    yield client
    client.close()


@pytest.fixture
def served(client: docker.DockerClient) -> Iterator[Registry]:
    with registry() as served:
        yield served
        built = client.images.list(filters={"label": f"{LABEL_BASE}={served.name}"})
        for reference in (*(image.id for image in built), served.name, *digests(client, served)):
            with contextlib.suppress(ImageNotFound):
                client.images.remove(reference)


def source(served: Registry) -> SmallSource:
    return SmallSource(base=served.name, environment={})


def digests(client: docker.DockerClient, served: Registry) -> list[str]:
    return [digest for image in client.images.list(name=served.repository) for digest in image.attrs["RepoDigests"]]


def listed(served: Registry) -> SandboxImage:
    return next(image for image in list_images() if image.tag == source(served).tag)


def test_what_was_pulled_is_pinned_by_its_digest_and_listed_so(client: docker.DockerClient, served: Registry) -> None:
    said: list[str] = []
    first = served.publish("first")

    ensure_image(source(served), said.append)

    assert (listed(served).base, listed(served).base_digest) == (served.name, first)
    assert f"base image: {served.name}, pinned as {first}" in said


def test_a_tag_that_moved_is_followed_by_an_update_only(client: docker.DockerClient, served: Registry) -> None:
    first = served.publish("first")
    ensure_image(source(served), print)
    second = served.publish("second")
    client.images.pull(served.name)  # by somebody else

    kept = find_base(client, served.name, print)
    renewed = newest_base(client, served.name, print)
    build_image(client, source(served), renewed, print)

    assert (kept.digest, renewed.digest) == (first, second)
    assert listed(served).base_digest == second
    assert find_base(client, served.name, print).digest == second


def test_a_base_of_this_machine_is_told_to_have_no_digest(client: docker.DockerClient, image: str) -> None:
    said: list[str] = []
    client.images.get(image).tag("threadbox-local", "test")

    base = newest_base(client, "threadbox-local:test", said.append)
    client.images.remove("threadbox-local:test")

    assert (base.reference, base.digest) == ("threadbox-local:test", "")
    assert said[-1] == (
        "base image: threadbox-local:test, which is of this machine and has no digest; no update reaches it"
    )
