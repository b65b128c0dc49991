"""The Docker Engine stops and starts again under the service: an engine of our own, with an image of the least."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import tempfile
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

import sandbox.attachment
from sandbox import Limits, Outcome, Output, RunEvent
from sandbox.admission import AdmissionSettings
from sandbox.engine import DockerEngine
from sandbox.errors import EngineUnavailable
from sandbox.reaper import LifeSettings
from sandbox.records import MemoryRecords
from sandbox.service import OnExit, SandboxService, ServiceSettings
from tests.conftest import missing
from tests.doubles.own_engine import OwnEngine

pytestmark = [
    pytest.mark.docker,
    pytest.mark.timeout(180),
]

IMAGE = "threadbox-least:test"
LEFT_OUT = ("./usr/local/lib/*", "./usr/lib/python3/dist-packages", "./usr/libexec")
"""No packages: an interpreter cannot start without IPython, the supervisor and bash can, and that suffices here."""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    if lacks := OwnEngine.lacks():
        missing("a second Docker Engine", lacks)
    folder = Path(tempfile.mkdtemp(prefix="tb-engine-"))  # short: its socket's path has 108 bytes
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def with_image(folder: Path, image: str) -> Path:
    """A data root that has the image."""
    engine = OwnEngine(folder)
    try:
        engine.start()
    except RuntimeError as error:
        missing("a second Docker Engine", error)
    engine.take(image, IMAGE, LEFT_OUT)
    engine.stop()
    return folder


@pytest.fixture
def own(with_image: Path) -> Iterator[OwnEngine]:
    engine = OwnEngine(with_image)
    engine.start()
    yield engine
    engine.stop()


@pytest.fixture
async def engine(own: OwnEngine) -> AsyncIterator[DockerEngine]:
    engine = DockerEngine(image=IMAGE, instance=f"restart-{os.urandom(4).hex()}", base_url=own.url)
    gc.disable()  # the SDK leaves a socket whose connect failed to the collector, which would warn in any test's name
    try:
        yield engine
        left = await engine.containers()
        await engine.aclose()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
    finally:
        gc.enable()
    assert left == []


def service(engine: DockerEngine, records: MemoryRecords | None = None, on_exit: OnExit = "remove") -> SandboxService:
    settings = ServiceSettings(
        admission=AdmissionSettings(free_mib=0), life=LifeSettings(reap_every_seconds=3600), on_exit=on_exit
    )
    limits = Limits(memory_mib=256, timeout_seconds=60)
    return SandboxService(engine, limits=limits, settings=settings, records=records)


def text(events: list[RunEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, Output))


async def run(sandboxes: SandboxService, code: str) -> list[RunEvent]:
    async with sandboxes.lease("a") as lease:
        return [event async for event in lease.run(code, "bash")]


async def test_a_cell_under_an_engine_that_stops_is_lost_calls_say_so_and_all_works_when_it_is_back(
    own: OwnEngine, engine: DockerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Case 47."""
    monkeypatch.setattr(sandbox.attachment, "REATTACH_SECONDS", 0.5)
    async with service(engine) as sandboxes:
        begun = asyncio.Event()

        async def cell() -> list[RunEvent]:
            events: list[RunEvent] = []
            async with sandboxes.lease("a") as lease:
                async for event in lease.run("echo begun; sleep 60", "bash"):
                    events.append(event)
                    begun.set()
            return events

        running = asyncio.ensure_future(cell())
        await asyncio.wait([asyncio.ensure_future(begun.wait()), running], return_when=asyncio.FIRST_COMPLETED)
        await asyncio.to_thread(own.stop)
        (ended,) = await asyncio.gather(running, return_exceptions=True)
        with pytest.raises(EngineUnavailable, match="does not answer"):
            await run(sandboxes, "echo 1")
        await asyncio.to_thread(own.start)
        after = await run(sandboxes, "echo again")

        assert isinstance(ended, EngineUnavailable) or (isinstance(ended[-1], Outcome) and ended[-1].sandbox_lost)
        assert text(after) == "again\n"
        assert sandboxes.live == 1
        assert len(await engine.containers()) == 1
    assert sandboxes.live == 0


async def test_an_idle_sandbox_that_the_engine_took_along_is_told_with_the_next_message(
    own: OwnEngine, engine: DockerEngine
) -> None:
    """Case 47."""
    async with service(engine) as sandboxes:
        await run(sandboxes, "echo 41 > file")
        await asyncio.to_thread(own.stop)
        await asyncio.to_thread(own.start)

        async with sandboxes.lease("a") as lease:
            arrival = await lease.arrive()

        assert arrival.notice == "The sandbox ended while nobody used it."
        assert text(await run(sandboxes, "ls")) == ""


async def test_a_service_that_starts_after_the_engine_removes_what_it_left_and_tells(
    own: OwnEngine, engine: DockerEngine
) -> None:
    """Case 47, with 41: the process and the engine both went."""
    records = MemoryRecords()
    async with service(engine, records, "leave") as sandboxes:
        await run(sandboxes, "echo 41 > file")
    await asyncio.to_thread(own.stop)
    with pytest.raises(EngineUnavailable):
        async with service(engine, records):
            pass
    await asyncio.to_thread(own.start)

    async with service(engine, records) as sandboxes:
        assert await engine.containers() == []
        async with sandboxes.lease("a") as lease:
            arrival = await lease.arrive()

    assert arrival.notice == "The sandbox ended while nobody used it."
