"""An image of the operator's own is tried before it is used: what cannot be a sandbox is refused, with the mend."""

from __future__ import annotations

import os
from collections.abc import Iterator

import docker
import pytest

from sandbox import Limits
from sandbox.engine import DockerEngine, connect
from sandbox.errors import ImageMissing, SandboxError
from sandbox.image_store import FROM_OURS, check_image
from tests.doubles.registry import registry

pytestmark = pytest.mark.docker
LIMITS = Limits(memory_mib=256)


@pytest.fixture
def client() -> Iterator[docker.DockerClient]:
    client = connect()
    yield client
    client.close()


async def checked(image: str) -> None:
    """Check it; no container is left."""
    engine = DockerEngine(image=image, instance=f"check-{os.urandom(4).hex()}")
    try:
        await check_image(engine, image, LIMITS)
    finally:
        left = await engine.containers()
        await engine.aclose()
    assert left == []


async def test_an_image_built_from_ours_passes(image: str) -> None:
    await checked(image)


async def test_an_image_without_a_python_is_refused(client: docker.DockerClient) -> None:
    with registry() as served:
        served.publish("nothing else")
        client.images.pull(served.name)
        with pytest.raises(SandboxError, match="is no sandbox image") as caught:
            await checked(served.name)
        client.images.remove(served.name)

    assert caught.value.mend == FROM_OURS


async def test_an_image_whose_interpreter_is_broken_is_refused(client: docker.DockerClient, image: str) -> None:
    """Built from ours, and spoiled afterwards."""
    name = f"threadbox-spoiled-{os.urandom(4).hex()}"
    spoil = "import IPython, os; os.remove(IPython.__file__)"
    container = client.containers.create(image, entrypoint=["python3", "-c", spoil], user="0", network_mode="none")
    container.start()
    container.wait()
    container.commit(name, "test", conf={"Entrypoint": [], "User": "65532:65532"})
    container.remove()
    try:
        with pytest.raises(SandboxError, match="is no sandbox image") as caught:
            await checked(f"{name}:test")
    finally:
        client.images.remove(f"{name}:test")

    assert caught.value.mend == FROM_OURS


async def test_an_image_that_is_not_there_is_named(image: str) -> None:
    with pytest.raises(SandboxError, match="threadbox-nowhere:test has not been built") as caught:
        await checked("threadbox-nowhere:test")

    assert isinstance(caught.value.__cause__, ImageMissing)
