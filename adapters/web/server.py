"""Serves the web chat."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime

import uvicorn
from jinja2 import Environment

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
    environment: Environment = templates()
    app = Pages(platform, config, environment, clock).app()
    server = _Server(
        uvicorn.Config(
            app, host=config.host, port=config.port, log_level="warning", access_log=False, lifespan="off",
            timeout_graceful_shutdown=STOP_SECONDS, server_header=False,
        )
    )  # fmt: skip
    async with asyncio.TaskGroup() as group:
        task = group.create_task(server.serve(), name="web-server")
        try:
            while not server.started:
                if task.done():
                    raise ConfigurationError(
                        f"Port {config.port} on {config.host} is taken. Set THREADBOX_WEB_PORT to another one."
                    )
                await asyncio.sleep(0.01)
            port = server.servers[0].sockets[0].getsockname()[1]
            yield f"http://{config.host}:{port}"
        finally:
            platform.listeners.close()
            server.should_exit = True


class _Server(uvicorn.Server):
    """Leaves signals to the process that it is a part of."""

    def install_signal_handlers(self) -> None:
        """None."""

    async def startup(self, sockets: object = None) -> None:
        """Start, or end without ending the process."""
        try:
            await super().startup()
        except SystemExit:
            self.should_exit = True
