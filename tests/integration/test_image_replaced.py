"""The image is looked up for each sandbox: one that was replaced is used from then on, one that is gone is named."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import docker
import pytest

from sandbox import Limits
from sandbox.engine import DockerEngine
from sandbox.engine_address import client_parameters, engine_place
from sandbox.errors import ImageMissing
from sandbox.guard_create import GuardLimits
from sandbox.image_build import ImageSource
from tests.doubles.guard import guarding

pytestmark = pytest.mark.docker


@pytest.fixture
def client() -> Iterator[docker.DockerClient]:
    client = docker.from_env()
    yield client
    client.close()


@pytest.fixture
def name(image: str, client: docker.DockerClient) -> str:
    """Of an image that a test may replace: NAME:test."""
    name = f"threadbox-replaced-{os.urandom(4).hex()}"
    client.api.tag(image, name, "test")
    return name


@pytest.fixture(params=["direct", "guarded"])
async def engine(request: pytest.FixtureRequest, name: str, tmp_path: Path) -> AsyncIterator[DockerEngine]:
    """A guard goes on while the image that it lets through is replaced."""
    url = None
    async with contextlib.AsyncExitStack() as stack:
        if request.param == "guarded":
            address = engine_place(client_parameters())
            limits = GuardLimits(containers=500)
            url = await stack.enter_async_context(guarding(tmp_path / "engine.sock", address, f"{name}:test", limits))
        engine = DockerEngine(image=f"{name}:test", instance=name, base_url=url)
        yield engine
        await engine.aclose()


async def test_an_image_that_was_replaced_or_removed_is_found_out_at_the_next_sandbox(
    image: str, name: str, engine: DockerEngine, client: docker.DockerClient
) -> None:

    async def image_of_next() -> str:
        container_id, _ = await engine.create(os.urandom(4).hex(), Limits(memory_mib=256))
        used = str(client.api.inspect_container(container_id)["Image"])
        await engine.remove(container_id)
        return used

    first = await image_of_next()
    other = client.api.create_container(image)["Id"]
    newer = client.api.commit(other, name, "test")["Id"]
    second = await image_of_next()
    client.api.remove_container(other)
    client.api.remove_image(f"{name}:test")
    with pytest.raises(ImageMissing, match=f"{name}:test has not been built"):
        await image_of_next()

    assert first == client.api.inspect_image(image)["Id"] != second
    assert second == newer


def test_another_index_makes_another_image_and_a_password_in_it_does_not() -> None:
    tags = {
        ImageSource(environment={"PIP_INDEX_URL": url} if url else {}).tag
        for url in ("", "https://one.example/simple", "https://two.example/simple")
    }

    assert len(tags) == 3
    assert ImageSource(environment={"PIP_INDEX_URL": "https://me:word@one.example/simple"}).tag in tags
