"""A small HTTP server beside everything else of the process, for platforms that are reached by HTTP."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import uvicorn

from bot.errors import ConfigurationError

STOP_SECONDS = 2


@asynccontextmanager
async def http_serving(
    app: Any, host: str, port: int, *, setting: str, on_stop: Callable[[], None] = lambda: None
) -> AsyncIterator[str]:
    """Serve an ASGI app for the length of the block; the address.

    Raises ConfigurationError that names `setting` when the port is taken. `on_stop` ends what would keep answers open.
    """
    bound = _bind(host, port, setting)
    server = _Server(
        uvicorn.Config(
            app,
            log_config=None,  # its lines go where the others do
            log_level="warning",
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=STOP_SECONDS,
            server_header=False,
        )
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(server.serve(sockets=[bound]), name=f"http-server-{port}")
        try:
            shown = f"[{host}]" if ":" in host else host
            yield f"http://{shown}:{bound.getsockname()[1]}"
        finally:
            on_stop()
            server.should_exit = True


def _bind(host: str, port: int, setting: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise ConfigurationError(
            f"Cannot listen on {host}, port {port} ({error.strerror}). Set {setting} to another one."
        ) from error


class _Server(uvicorn.Server):
    """Leaves signals to the process that it is a part of."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """None."""
        yield
