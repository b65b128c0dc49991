"""An engine with faults: whoever runs code is told clearly, another try works, nothing is left and nothing is held up.

Case 47 of the list of hostile cases. On the engine without Docker.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import sandbox.engine
import sandbox.sandbox
from sandbox import Limits, Outcome, Output, RunEvent
from sandbox.blobs import Blobs
from sandbox.errors import BlobsUnavailable, EngineUnavailable, SandboxError
from tests.doubles.faulty_engine import Cut, Never, Refusal, Slow, Stall, Vanishing
from tests.doubles.loop_watch import HELD_UP_SECONDS, loop_watch
from tests.doubles.watched_site import Site, silent_engine, watched_site

REFUSALS = {
    "no answer": EngineUnavailable("The Docker Engine does not answer (connection refused)."),
    "conflict": SandboxError("The Docker Engine refused: 409 Conflict"),
    "its own fault": SandboxError("The Docker Engine refused: 500 Server Error"),
    "disk": SandboxError("The Docker Engine refused: no space left on device"),
}
refusals = pytest.mark.parametrize("error", REFUSALS.values(), ids=REFUSALS.keys())


@pytest.fixture
async def site() -> Site:
    """Not begun: a test enters `watched_site` itself, so that the tasks that are left are its own."""
    return Site()


def end_of(events: list[RunEvent]) -> Outcome:
    assert isinstance(events[-1], Outcome)
    return events[-1]


@refusals
async def test_a_refused_create_is_raised_as_it_is_and_the_next_works(site: Site, error: SandboxError) -> None:
    """Case 47."""
    async with watched_site(site):
        site.engine.script("create", Refusal(error=error))

        with pytest.raises(SandboxError) as raised:
            await site.run("1")

        assert raised.value is error
        assert site.service.live == 0
        assert await site.prints("print(1)") == "1\n"


async def test_a_slow_create_holds_up_nobody_and_works(site: Site) -> None:
    async with watched_site(site):
        site.engine.script("create", Slow(seconds=0.5))

        assert await site.prints("print(1)") == "1\n"


@pytest.mark.parametrize("fault", [Slow(seconds=3600), Never()], ids=["slow", "never"])
async def test_who_gives_up_on_a_create_leaves_nothing_and_gives_the_place_back(
    site: Site, fault: Slow | Never
) -> None:
    async with watched_site(site):
        site.engine.script("create", fault)
        running = asyncio.ensure_future(site.run("1"))
        await site.engine.met.wait()
        running.cancel()
        await asyncio.wait([running])

        assert running.cancelled()
        assert site.engine.made == isinstance(fault, Slow)
        assert (site.service.live, await site.containers()) == (0, 0)
        assert await site.prints("print(1)", key="b") == "1\n"


async def test_a_container_that_is_gone_before_it_speaks_is_an_error(site: Site) -> None:
    async with watched_site(site):
        site.engine.script("create", Vanishing())

        with pytest.raises(SandboxError, match="ended"):
            await site.run("1")

        assert (site.service.live, await site.containers()) == (0, 0)
        assert await site.prints("print(1)") == "1\n"


@pytest.mark.parametrize("after", [1, 10, 40])
async def test_a_stream_cut_inside_the_first_frame_is_an_error(site: Site, after: int) -> None:
    async with watched_site(site):
        site.engine.greets_with(Cut(after_bytes=after))

        with pytest.raises(SandboxError, match="ended"):
            await site.run("1")

        assert (site.service.live, await site.containers()) == (0, 0)
        assert await site.prints("print(1)") == "1\n"


async def test_a_container_that_says_nothing_is_given_up_in_time(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox.sandbox, "START_SECONDS", 0.3)
    async with watched_site(site):
        site.engine.greets_with(Stall(after_bytes=1))

        with pytest.raises(SandboxError, match=r"did not answer within 0\.3 s"):
            await site.run("1")

        monkeypatch.undo()
        assert await site.containers() == 0
        assert await site.prints("print(1)") == "1\n"


@pytest.mark.parametrize("after", [1, 31, 60, 100])
async def test_a_stream_cut_in_a_cell_is_an_outcome_and_the_next_cell_has_a_new_sandbox(site: Site, after: int) -> None:
    async with watched_site(site):
        await site.run("x = 1")
        site.engine.wires[-1].breaks(Cut(after_bytes=after))

        end = end_of(await site.run("print('y' * 1000)"))

        assert (end.status, end.sandbox_lost, end.variables_kept) == ("lost", True, False)
        assert "ended while the code ran" in end.error_message
        assert await site.prints("print('x' in globals())") == "False\n"
        assert await site.containers() == 1


async def test_a_stream_that_stalls_in_a_frame_ends_by_the_hosts_own_clock(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox.sandbox, "HOST_GRACE_SECONDS", 0.3)
    async with watched_site(site):
        await site.run("x = 1")
        site.engine.wires[-1].breaks(Stall(after_bytes=40))

        end = end_of(await site.run("print('y' * 1000)"))

        assert (end.status, end.exit_code, end.sandbox_lost) == ("timeout", 124, True)
        assert await site.prints("print(1)") == "1\n"


async def test_a_sandbox_that_was_lost_takes_nobodys_place_not_even_its_own_threads() -> None:
    async with watched_site(Site(most=1)) as site:
        await site.run("x = 1")
        site.engine.wires[-1].breaks(Cut(after_bytes=1))
        assert end_of(await site.run("print(1)")).sandbox_lost

        assert await site.prints("print(2)") == "2\n"


async def test_a_container_that_vanishes_under_a_cell_is_an_outcome(site: Site) -> None:
    """Case 47, and 23 without Docker."""
    async with watched_site(site), site.service.lease("a") as lease:
        events: list[RunEvent] = []
        async for event in lease.run("import time\nprint(1, flush=True)\ntime.sleep(60)"):
            events.append(event)
            if isinstance(event, Output):
                (container,) = await site.processes.containers()
                await site.processes.remove(container.container_id)

        assert (end_of(events).status, end_of(events).sandbox_lost) == ("lost", True)


async def test_a_removal_that_fails_after_a_cut_stays_the_lost_outcome_and_is_done_later(site: Site) -> None:
    async with watched_site(site):
        await site.run("x = 1")
        site.engine.wires[-1].breaks(Cut(after_bytes=1))
        site.engine.script("remove", Refusal(error=REFUSALS["no answer"]))

        end = end_of(await site.run("print(1)"))

        assert end.sandbox_lost
        assert await site.prints("print(1)") == "1\n"
        assert await site.containers() == 1


@refusals
async def test_a_refused_unpause_loses_nothing_and_the_next_try_works(site: Site, error: SandboxError) -> None:
    async with watched_site(site):
        await site.run("x = 41")
        site.clock.now += 31
        await site.service.reaper.reap()
        site.engine.script("unpause", Refusal(error=error))

        with pytest.raises(SandboxError) as raised:
            await site.run("print(x)")

        assert raised.value is error
        assert await site.prints("print(x)") == "41\n"


async def test_a_container_that_vanished_while_paused_is_replaced(site: Site) -> None:
    async with watched_site(site):
        await site.run("x = 41")
        site.clock.now += 31
        await site.service.reaper.reap()
        site.engine.script("unpause", Vanishing())

        with pytest.raises(SandboxError, match="ended"):
            await site.run("print(x)")
        await asyncio.gather(*site.processes._pumps)

        assert await site.prints("print('x' in globals())") == "False\n"


@pytest.mark.parametrize("call", ["pause", "remove"])
@refusals
async def test_a_reap_that_the_engine_refuses_is_done_later_and_loses_nothing(
    site: Site, call: str, error: SandboxError
) -> None:
    """Case 47."""
    async with watched_site(site):
        await site.run("x = 41")
        site.engine.script(call, Refusal(error=error))
        site.clock.now += 31 if call == "pause" else 61
        await site.service.reaper.reap()
        site.clock.now += 61
        await site.service.reaper.reap()

        assert await site.containers() == 0
        assert await site.prints("print(x)") == "41\n"


async def test_a_cell_that_waits_for_room_gets_it_although_the_engine_refused_the_first_removal() -> None:
    async with watched_site(Site(most=1)) as site:
        await site.run("x = 1")
        site.engine.script("remove", Refusal(error=REFUSALS["no answer"]))

        with contextlib.suppress(EngineUnavailable):  # it may say so, or try again by itself
            await site.run("1", key="b")

        assert await site.prints("print(2)", key="b") == "2\n"
        site.clock.now += 31
        await site.service.reaper.reap()
        assert await site.containers() == 1


async def test_a_service_does_not_start_on_an_engine_that_is_down_and_says_so(site: Site) -> None:
    site.engine.script("containers", Refusal(error=REFUSALS["no answer"]))

    with pytest.raises(EngineUnavailable, match="does not answer"):
        async with site.service:
            pass

    async with watched_site(site):
        assert await site.prints("print(1)") == "1\n"


class BreakingBlobs(Blobs):
    """A store that fails after it has taken a little."""

    failures = 1

    async def put(self, name: str, chunks: AsyncIterator[bytes]) -> int:
        if self.failures:
            self.failures -= 1
            await anext(chunks)
            raise BlobsUnavailable("the connection was lost")
        return await super().put(name, chunks)


async def test_a_store_that_breaks_in_the_middle_of_a_save_loses_nothing() -> None:
    async with watched_site(Site(BreakingBlobs.at("memory://"))) as site:
        await site.run("import os; x = os.urandom(3_000_000)")
        site.clock.now += 61
        await site.service.reaper.reap()
        site.clock.now += 61
        await site.service.reaper.reap()

        assert await site.prints("print(len(x))") == "3000000\n"


async def test_an_engine_that_takes_calls_and_answers_none_is_named_in_time_and_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Case 47."""
    monkeypatch.setattr(sandbox.engine, "ENGINE_SECONDS", 1)
    async with silent_engine(tmp_path) as engine, loop_watch() as watch:
        with pytest.raises(EngineUnavailable, match=r"does not answer .*timed out"):
            await engine.create("a", Limits())

    assert watch.held_up < HELD_UP_SECONDS
