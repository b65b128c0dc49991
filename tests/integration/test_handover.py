"""A service ends and another goes on: an attach that fails for a moment costs nothing, and what is saved reaches nobody."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from sandbox import Limits, Output
from sandbox.admission import AdmissionSettings
from sandbox.blobs import Blobs
from sandbox.egress import Network
from sandbox.errors import EngineUnavailable, SandboxError, SandboxSilent
from sandbox.lease import Lease
from sandbox.records import MemoryRecords
from sandbox.service import OnExit, SandboxService, ServiceSettings
from sandbox.snapshot import Snapshots
from tests.doubles.faulty_engine import FaultyEngine, Refusal, Stall
from tests.doubles.process_engine import ProcessEngine

UNREACHABLE = Network(mode="allowlist", hosts=frozenset({"gone.invalid"}))
CALLER = """
import os, urllib.request
def said():
    try:
        urllib.request.urlopen('https://gone.invalid/', timeout=4)
    except Exception as error:
        return str(error)
class Caller:
    def __reduce__(self):
        return str, (said(),)
caller = Caller()
"""


class World:
    """What outlives a service."""

    def __init__(self, engine: ProcessEngine) -> None:
        self.engine = FaultyEngine(engine)
        self._records = MemoryRecords()
        self._blobs = Blobs.at("memory://")

    def service(self, on_exit: OnExit, network: Network | None = None) -> SandboxService:
        return SandboxService(
            self.engine,
            limits=Limits(timeout_seconds=10, interrupt_seconds=0.5),
            settings=ServiceSettings(admission=AdmissionSettings(free_mib=0), on_exit=on_exit),
            records=self._records,
            snapshots=Snapshots(self._blobs),
            network=network,
        )


@pytest.fixture
async def world(process_engine: ProcessEngine) -> AsyncIterator[World]:
    yield World(process_engine)


async def output(lease: Lease, code: str) -> str:
    return "".join([event.text async for event in lease.run(code) if isinstance(event, Output)])


@pytest.mark.parametrize("call", ["unpause", "attach"])
@pytest.mark.parametrize("error", [EngineUnavailable("no answer"), SandboxSilent("no welcome")], ids=["engine", "box"])
async def test_an_attach_that_fails_for_a_moment_is_tried_again_and_loses_nothing(
    world: World, call: str, error: SandboxError
) -> None:
    async with world.service("leave") as service, service.lease("a") as lease:
        await output(lease, "x = 41")

    async with world.service("leave") as service:
        world.engine.script(call, Refusal(error=error))
        with pytest.raises(type(error)):
            async with service.lease("a") as lease:
                await lease.arrive()
        async with service.lease("a") as lease:
            arrival = await lease.arrive()
            printed = await output(lease, "print(x)")

    assert (arrival.kind, arrival.notice, printed) == ("live", "", "41\n")
    assert world.engine.made == 1


async def test_a_sandbox_that_does_not_greet_in_time_is_tried_again_and_loses_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world.service("leave") as service, service.lease("a") as lease:
        await output(lease, "x = 41")

    async with world.service("leave") as service:
        with monkeypatch.context() as patch, pytest.raises(SandboxSilent):
            patch.setattr("sandbox.sandbox.ATTACH_SECONDS", 0.2)
            world.engine.greets_with(Stall(after_bytes=1))
            async with service.lease("a") as lease:
                await lease.arrive()
        async with service.lease("a") as lease:
            printed = await output(lease, "print(x)")

    assert (printed, world.engine.made) == ("41\n", 1)


@pytest.mark.usefixtures("no_dns")
async def test_what_is_saved_at_the_end_finds_the_network_closed(world: World) -> None:
    """Saving runs the user's code once more, when nobody looks at it any more."""
    async with world.service("save", UNREACHABLE) as service, service.lease("a") as lease:
        before = await output(lease, CALLER + "print(said())")

    async with world.service("save") as service, service.lease("a") as lease:
        at_the_end = await output(lease, "print(caller)")

    assert "gone.invalid cannot be reached" in before
    assert "403" in at_the_end or "the network is closed" in at_the_end
    assert "cannot be reached" not in at_the_end
