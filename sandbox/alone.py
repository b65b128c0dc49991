"""The Docker engine of this machine, for code that uses sandboxes without the bot."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from sandbox.engine import DockerEngine
from sandbox.image_build import ImageSource, ensure_image
from sandbox.instances import process_instance

log = structlog.get_logger()


async def make_engine(image: str | None = None) -> DockerEngine:
    """An engine whose containers are of no use once this process has ended; close it with `aclose`.

    Without `image` ours is built if need be, which takes a minute or two, once. Raises EngineUnavailable,
    ImageBuildFailed.
    """
    if image is None:
        source = ImageSource(environment=os.environ)  # noqa: TID251 - stand-alone use has no settings of ours
        image = await asyncio.to_thread(ensure_image, source, lambda line: log.info("image.build", line=line))
    return DockerEngine(image=image, instance=process_instance())


@asynccontextmanager
async def docker_engine(image: str | None = None) -> AsyncIterator[DockerEngine]:
    """As above, and closed at the end."""
    engine = await make_engine(image)
    try:
        yield engine
    finally:
        await engine.aclose()
