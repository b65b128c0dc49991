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
from sandbox import Limits, Outcome, RunEvent
from sandbox.blobs import Blobs
from sandbox.errors import BlobsUnavailable, EngineUnavailable, SandboxError
from tests.doubles.faulty_engine import Never, Refusal, Slow, Vanishing
from tests.doubles.loop_watch import HELD_UP_SECONDS, loop_watch
from tests.doubles.watched_site import NO_ANSWER, Site, silent_engine, watched_site

REFUSALS = {
    "no answer": NO_ANSWER,
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
        site.engine.script("remove", Refusal(error=NO_ANSWER))

        with contextlib.suppress(EngineUnavailable):  # it may say so, or try again by itself
            await site.run("1", key="b")

        assert await site.prints("print(2)", key="b") == "2\n"
        site.clock.now += 31
        await site.service.reaper.reap()
        assert await site.containers() == 1


async def test_a_service_does_not_start_on_an_engine_that_is_down_and_says_so(site: Site) -> None:
    site.engine.script("containers", Refusal(error=NO_ANSWER))

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
