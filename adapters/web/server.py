"""Serves the web chat."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime

import uvicorn

from adapters.web.adapter import WebPlatform
from adapters.web.config import WebConfig
from adapters.web.outbound import Html, templates
from adapters.web.pages import Pages
from bot.errors import ConfigurationError
from bot.ports import Artifacts, Commands, History, Intake

STOP_SECONDS = 2


def make_platform(intake: Intake, commands: Commands, history: History, artifacts: Artifacts) -> WebPlatform:
    """The platform, before it is served."""
    return WebPlatform(Html(templates()), intake, commands, history, artifacts)


@asynccontextmanager
async def serving(platform: WebPlatform, config: WebConfig, clock: Callable[[], datetime]) -> AsyncIterator[str]:
    """Serve for the length of the block; the address. Raises ConfigurationError when the port is taken."""
    bound = _bind(config)
    app = Pages(platform, config, templates(), clock).app()
    server = _Server(
        uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=STOP_SECONDS,
            server_header=False,
        )
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(server.serve(sockets=[bound]), name="web-server")
        try:
            host = f"[{config.host}]" if ":" in config.host else config.host
            yield f"http://{host}:{bound.getsockname()[1]}"
        finally:
            platform.listeners.close()
            server.should_exit = True


def _bind(config: WebConfig) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    try:
        return socket.create_server((config.host, config.port), family=family)
    except OSError as error:
        where = f"{config.host}, port {config.port}"
        raise ConfigurationError(
            f"Cannot listen on {where} ({error.strerror}). Set THREADBOX_WEB_PORT to another one."
        ) from error


class _Server(uvicorn.Server):
    """Leaves signals to the process that it is a part of."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """None."""
        yield
