"""A service on a faulty engine without Docker, and a look at what it leaves behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from structlog.testing import capture_logs

from sandbox import Limits, Output, RunEvent
from sandbox.admission import AdmissionSettings
from sandbox.blobs import Blobs
from sandbox.engine import DockerEngine
from sandbox.errors import EngineUnavailable
from sandbox.reaper import LifeSettings
from sandbox.service import SandboxService, ServiceSettings
from sandbox.snapshot import Snapshots
from tests.doubles.clock import Clock
from tests.doubles.faulty_engine import FaultyEngine
from tests.doubles.loop_watch import HELD_UP_SECONDS, loop_watch
from tests.doubles.process_engine import ProcessEngine

NO_ANSWER = EngineUnavailable("The Docker Engine does not answer (connection refused).")


class Site:
    """A service on a faulty engine, and what came of it."""

    def __init__(self, blobs: Blobs | None = None, most: int = 2) -> None:
        self.processes = ProcessEngine()
        self.engine = FaultyEngine(self.processes)
        self.clock = Clock()
        self.service = SandboxService(
            self.engine,
            limits=Limits(timeout_seconds=1, interrupt_seconds=0.2),
            settings=ServiceSettings(
                admission=AdmissionSettings(sandboxes=most, free_mib=0, wait_seconds=3),
                life=LifeSettings(pause_seconds=30, save_seconds=60, reap_every_seconds=3600),
            ),
            snapshots=Snapshots(blobs or Blobs.at("memory://")),
            clock=self.clock,
            now=self.clock,
        )

    async def run(self, code: str, key: str = "a") -> list[RunEvent]:
        async with self.service.lease(key) as lease:
            return [event async for event in lease.run(code)]

    async def prints(self, code: str, key: str = "a") -> str:
        return "".join(event.text for event in await self.run(code, key) if isinstance(event, Output))

    async def containers(self) -> int:
        return len(await self.processes.containers())


@asynccontextmanager
async def watched_site(site: Site) -> AsyncIterator[Site]:
    """A site whose end is checked: no container, no task, nothing counted as live, and the loop was never held up."""
    try:
        with capture_logs():  # a pretty traceback takes its second, and is not what is timed here
            async with site.service, loop_watch() as watch:
                yield site
        left = await site.containers()
    finally:
        await site.processes.aclose()
    assert (left, site.service.live) == (0, 0)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert watch.held_up < HELD_UP_SECONDS


@asynccontextmanager
async def silent_engine(folder: Path) -> AsyncIterator[DockerEngine]:
    """The real engine's client, and at the other end something that takes every call and answers none."""
    connections: list[asyncio.StreamWriter] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        await reader.read()

    server = await asyncio.start_unix_server(take, str(folder / "engine.sock"))
    engine = DockerEngine(image="any", instance="any", base_url=f"unix://{folder / 'engine.sock'}")
    yield engine
    await engine.aclose()
    for writer in connections:
        writer.close()
    server.close()
