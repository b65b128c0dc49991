"""Whoever gives up on a create, and once more on waiting for its end, leaves no container."""

from __future__ import annotations

import asyncio
import os

import pytest

from sandbox import Limits
from sandbox.engine import DockerEngine

pytestmark = pytest.mark.docker


@pytest.mark.parametrize("cancels", [1, 2, 3])
async def test_a_create_that_is_cancelled_and_cancelled_again_leaves_nothing(image: str, cancels: int) -> None:
    instance = f"cancelled-{os.urandom(4).hex()}"
    engine = DockerEngine(image=image, instance=instance)
    await engine.has_image()
    creating = asyncio.ensure_future(engine.create(f"cancelled-{os.urandom(4).hex()}", Limits()))
    for _ in range(cancels):
        await asyncio.sleep(0.005)
        creating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await creating
    await engine.aclose()

    after = DockerEngine(image=image, instance=instance)
    left = await after.containers()
    for container in left:
        await after.remove(container.container_id)
    await after.aclose()

    assert left == []
