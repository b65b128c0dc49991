"""Serves the web chat."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime

from adapters.web.adapter import WebPlatform
from adapters.web.config import WebConfig
from adapters.web.outbound import Html, templates
from adapters.web.pages import Pages
from adapters.web.security import Sessions
from bot.http_server import http_serving
from bot.ports import Commands, Intake
from bot.store_ports import Artifacts, History


def make_platform(intake: Intake, commands: Commands, history: History, artifacts: Artifacts) -> WebPlatform:
    """The platform, before it is served."""
    return WebPlatform(Html(templates()), intake, commands, history, artifacts)


@asynccontextmanager
async def serving(
    platform: WebPlatform, config: WebConfig, sessions: Sessions, clock: Callable[[], datetime]
) -> AsyncIterator[str]:
    """Serve for the length of the block; the address. Raises ConfigurationError when the port is taken."""
    app = Pages(platform, config, templates(), sessions, clock).app()
    async with http_serving(
        app, config.host, config.port, setting="THREADBOX_WEB_PORT", on_stop=platform.listeners.close
    ) as address:
        yield address
