"""threadbox engine-guard: makes the sandbox image, then stands between the bot and the Docker socket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from bot.errors import ConfigurationError
from bot.sandbox_setup import image_source
from bot.settings import Settings
from sandbox.engine_address import client_parameters, engine_place
from sandbox.guard import EngineGuard
from sandbox.guard_create import GuardLimits
from sandbox.guard_rules import Rules
from sandbox.image_build import ensure_image
from sandbox.limits import Limits


async def serve(settings: Settings, say: Callable[[str], None]) -> int:
    """Answer until cancelled. Raises ConfigurationError, SandboxError."""
    listen, engine = settings.guard_socket, engine_place(client_parameters())
    if engine.socket == str(listen):
        raise ConfigurationError(f"DOCKER_HOST is engine-guard's own socket, {listen}; unset it for engine-guard.")
    image = settings.image
    if image is None:  # before it listens: whoever can connect finds the image
        image = await asyncio.to_thread(ensure_image, image_source(settings), say)
    rules = Rules(images=frozenset({image}), limits=guard_limits(settings))
    await EngineGuard(engine, rules).serve(listen, lambda: say(f"engine-guard lets the bot's calls through: {listen}"))
    return 0


def guard_limits(settings: Settings) -> GuardLimits:
    """The guard's slice of the settings: no sandbox is larger than the bot's own may be."""
    most = Limits(memory_mib=settings.memory_mib, cpus=settings.cpus, workspace_mib=settings.workspace_mib)
    return GuardLimits(most=most, containers=settings.guard_containers, runtime=settings.runtime)
