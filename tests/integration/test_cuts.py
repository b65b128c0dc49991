"""A stream that is cut: what lives goes on over a new one, what has ended is told, and nothing is left behind.

Case 47 of the list of hostile cases. On the engine without Docker, but for the guard's.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import sandbox.attachment
import sandbox.cell
import sandbox.sandbox
from sandbox import Limits, Output, RunEvent, Sandbox
from sandbox.engine import DockerEngine
from sandbox.engine_address import client_parameters, engine_place
from sandbox.errors import SandboxError, SandboxGone
from sandbox.guard_create import GuardLimits
from tests.contracts.runs import outcome as end_of
from tests.contracts.runs import run, text
from tests.doubles.faulty_engine import Cut, CutSent, Refusal, Stall, Vanishing
from tests.doubles.guard import guarding
from tests.doubles.watched_site import NO_ANSWER, Site, watched_site


@pytest.fixture
async def site() -> Site:
    """Not begun: a test enters `watched_site` itself, so that the tasks that are left are its own."""
    return Site()


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
async def test_a_container_that_ends_in_a_frame_is_an_outcome_and_the_next_cell_has_a_new_sandbox(
    site: Site, after: int
) -> None:
    async with watched_site(site):
        await site.run("x = 1")
        site.engine.wires[-1].breaks(Cut(after_bytes=after))
        site.engine.script("attach", Vanishing())

        end = end_of(await site.run("print('y' * 1000)"))

        assert (end.status, end.sandbox_lost, end.variables_kept) == ("lost", True, False)
        assert "ended while the code ran" in end.error_message
        assert await site.prints("print('x' in globals())") == "False\n"
        assert await site.containers() == 1


async def test_a_stream_that_stalls_in_a_frame_ends_by_the_hosts_own_clock(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox.cell, "HOST_GRACE_SECONDS", 0.3)
    async with watched_site(site):
        await site.run("x = 1")
        site.engine.wires[-1].breaks(Stall(after_bytes=40))

        end = end_of(await site.run("print('y' * 1000)"))

        assert (end.status, end.exit_code, end.sandbox_lost) == ("timeout", 124, True)
        assert await site.prints("print(1)") == "1\n"


async def test_an_engine_that_drops_every_stream_and_comes_back_costs_no_thread_its_variables(site: Site) -> None:
    async with watched_site(site):
        await site.run("x = 41")
        site.engine.wires[-1].breaks(Cut(after_bytes=1))
        site.engine.script("attach", *[Refusal(error=NO_ANSWER)] * 3)

        assert await site.prints("x += 1; print(x)") == "42\n"
        assert site.engine.made == 1


async def test_a_stream_cut_while_nobody_used_it_is_made_anew_by_the_reaper_which_saves_what_is_there(
    site: Site,
) -> None:
    async with watched_site(site):
        await site.run("x = 41")
        site.engine.wires[-1].cut()
        site.clock.now += 31
        await site.service.reaper.reap()
        site.clock.now += 61
        await site.service.reaper.reap()

        assert await site.containers() == 0
        assert await site.prints("print(x)") == "41\n"


async def test_a_stream_cut_while_idle_is_made_anew_by_the_next_cell(site: Site) -> None:
    async with watched_site(site):
        await site.run("x = 41")
        site.engine.wires[-1].cut()

        assert await site.prints("print(x)") == "41\n"
        assert site.engine.made == 1


async def test_a_cut_in_the_middle_of_a_save_or_a_restore_loses_nothing(site: Site) -> None:
    async with watched_site(site):
        await site.run("import os; x = os.urandom(300_000); open('a', 'wb').write(x)")
        site.engine.wires[-1].breaks(Cut(after_bytes=200_000))
        site.clock.now += 61
        await site.service.reaper.reap()
        saved = await site.containers()
        site.engine.greets_with(CutSent(after_bytes=200_000))

        assert await site.prints("print(len(x), open('a', 'rb').read() == x)") == "300000 True\n"
        assert saved == 0
        assert len(site.engine.wires) == 4


async def test_an_engine_that_stays_away_is_an_outcome_in_time(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox.attachment, "REATTACH_SECONDS", 0.3)
    async with watched_site(site):
        await site.run("x = 1")
        site.engine.wires[-1].breaks(Cut(after_bytes=1))
        site.engine.script("attach", *[Refusal(error=NO_ANSWER)] * 20)

        end = end_of(await site.run("print(1)"))

        assert (end.status, end.sandbox_lost) == ("lost", True)
        assert "could not be made again" in end.error_message


async def test_a_sandbox_that_was_lost_takes_nobodys_place_not_even_its_own_threads() -> None:
    async with watched_site(Site(most=1)) as site:
        await site.run("x = 1")
        site.engine.wires[-1].breaks(Cut(after_bytes=1))
        site.engine.script("attach", Vanishing())
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
        site.engine.script("attach", Refusal(error=SandboxGone()))
        site.engine.script("remove", Refusal(error=NO_ANSWER))

        end = end_of(await site.run("print(1)"))

        assert end.sandbox_lost
        assert await site.prints("print(1)") == "1\n"
        assert await site.containers() == 1


@pytest.mark.docker
async def test_a_guard_that_starts_again_under_a_cell_costs_nothing(image: str, tmp_path: Path) -> None:
    listen, address = tmp_path / "engine.sock", engine_place(client_parameters())
    engine = DockerEngine(image=image, instance=f"again-{os.urandom(4).hex()}", base_url=f"unix://{listen}")
    events: list[RunEvent] = []
    async with guarding(listen, address, image, GuardLimits()):
        box = await Sandbox.start(engine, os.urandom(6).hex(), Limits(memory_mib=256, workspace_mib=64))
        await run(box, "x = 41")
        running = box.run("import time\nprint('begun', flush=True)\ntime.sleep(1)\nx += 1\nprint(x)")
        events.append(await anext(running))
    async with guarding(listen, address, image, GuardLimits()):
        events += [event async for event in running]
        after = await run(box, "print(x)")
        await box.remove()
        left = await engine.containers()
    await engine.aclose()

    assert text(events) == "begun\n42\n"
    assert text(after) == "42\n"
    assert left == []
