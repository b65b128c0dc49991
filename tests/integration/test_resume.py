"""Posts that fail, turns that begin again, a sandbox that does not come."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from bot.commands import sandbox_key
from bot.memory_queue import MemorySteps
from bot.model import Attachment
from bot.text import LOST_SANDBOX
from sandbox import Limits
from sandbox.blobs import Blobs
from sandbox.errors import EngineUnavailable
from sandbox.service import SandboxService
from sandbox.snapshot import Snapshots
from tests.doubles.bot import Bot, running_bot
from tests.doubles.model_server import ModelServer, python
from tests.doubles.process_engine import PipeWire, ProcessEngine

# one loop for the module: its tests share the sandboxes of tests/integration/conftest.py
pytestmark = pytest.mark.asyncio(loop_scope="module")


def last(request: dict[str, Any]) -> dict[str, Any]:
    return request["messages"][-1]


async def test_a_post_that_fails_is_tried_again(direct: Bot) -> None:
    direct.platform.fail_next = 2

    await direct.ask("```\nprint('x')\n```")

    assert direct.platform.order == ["".join(direct.platform.order[0])]


async def test_a_post_whose_answer_was_lost_is_found_and_not_posted_again(direct: Bot) -> None:
    direct.platform.lose_next = 1

    await direct.ask("```\nprint('x')\n```")

    assert len(direct.platform.order) == 1
    assert "x" in direct.platform.text().split("\n")


async def test_a_turn_that_begins_again_repeats_no_call_no_cell_and_no_post(bot: Bot, model: ModelServer) -> None:
    model.script[:] = [python("n = 0\nn += 1\nprint('ran', n)"), "Done once."]
    record: dict[str, Any] = {}
    sent = bot.message("go")
    turn = await bot.front.intake._inbox.claim(sent, answer=True)
    assert turn is not None
    await bot.runner.run(turn.id, MemorySteps(record))
    posts = list(bot.platform.order)
    asked = len(model.requests)
    await bot.turns.start(turn.id)  # as a crash before the last write leaves it

    await bot.runner.run(turn.id, MemorySteps(record))

    assert len(model.requests) == asked
    assert bot.platform.order == posts


async def test_a_cell_that_was_cut_off_is_not_run_twice(bot: Bot, model: ModelServer) -> None:
    model.script[:] = [python("print('ran')"), "I see."]
    sent = bot.message("go")
    turn = await bot.front.intake._inbox.claim(sent, answer=True)
    assert turn is not None
    await bot.turns.begin_run(f"{turn.id}.1", turn.id)  # as a crash under the cell leaves it

    await bot.runner.run(turn.id, MemorySteps())

    assert "Its outcome is unknown, and it was not run again." in bot.platform.text()
    assert "not run again" in last(model.requests[1])["content"]


async def test_a_sandbox_that_lives_is_not_called_lost_by_a_cell_that_was_cut_off(bot: Bot, model: ModelServer) -> None:
    model.script[:] = [python("x = 41"), "Kept.", python("print('ran')"), python("print(x + 1)"), "There it is."]
    await bot.ask("keep x")
    turn = await bot.front.intake._inbox.claim(bot.message("go"), answer=True)
    assert turn is not None
    await bot.turns.begin_run(f"{turn.id}.1", turn.id)

    await bot.runner.run(turn.id, MemorySteps())

    assert "not run again" in last(model.requests[-2])["content"]
    assert "42" in last(model.requests[-1])["content"]
    assert LOST_SANDBOX not in bot.platform.text()


async def test_a_turn_that_another_version_began_is_said_to_be_interrupted(bot: Bot, model: ModelServer) -> None:
    turn = await bot.front.intake._inbox.claim(bot.message("go"), answer=True)
    assert turn is not None
    await bot.turns.start(turn.id)  # and its record of steps was of no use to this version

    assert await bot.runner.run(turn.id, MemorySteps()) == "failed"
    again = await bot.front.intake.retry(turn.id)

    assert "I was upgraded while I was at this" in bot.platform.text()
    assert model.requests == []
    assert again.message.text == "go"


@pytest.mark.parametrize("attached", [False, True])
@pytest.mark.parametrize(
    ("fate", "told", "lost"),
    [
        ("saved", "Brought back after a pause: variables x.", False),
        ("saved, then used and gone", "Brought back after a pause: variables x.", True),
        ("gone", "", True),
        ("never made", "", False),
    ],
)
async def test_a_cell_that_was_cut_off_says_what_became_of_the_sandbox(
    tmp_path: Path, fate: str, told: str, lost: bool, attached: bool
) -> None:
    engine = ProcessEngine()
    service = SandboxService(engine, limits=Limits(timeout_seconds=10), snapshots=Snapshots(Blobs.at("memory://")))
    file = Attachment(name="numbers.csv", size=3, source="f1")
    async with service as sandboxes, running_bot(tmp_path, sandboxes) as bot:
        bot.platform.files["f1"] = b"1,2"
        if fate != "never made":
            await bot.ask("```\nx = 41\n```")
        asked = bot.message("```\nprint('ran')\n```", attachments=(file,) if attached else ())
        turn = await bot.front.intake._inbox.claim(asked, answer=True)
        assert turn is not None
        await bot.turns.begin_run(f"{turn.id}.1", turn.id)
        async with sandboxes.lease(sandbox_key(turn.key)) as lease:
            if "saved" in fate:
                await lease.put_away()
            if "used" in fate:
                assert (await lease.arrive()).kind == "restored"
        for container in await engine.containers() if "gone" in fate else []:
            await engine.remove(container.container_id)

        await bot.runner.run(turn.id, MemorySteps({"sandbox": {"news": ""}}))  # what was found before the crash

        said = bot.platform.text()
        assert "not run again" in said
        assert told in said
        assert said.count(LOST_SANDBOX) == lost
        assert "while nobody used it" not in said
    await engine.aclose()


class NoEngine(ProcessEngine):
    """An engine that does not answer."""

    async def create(self, sandbox_id: str, limits: Limits) -> tuple[str, PipeWire]:
        raise EngineUnavailable


async def test_a_failing_sandbox_is_told_and_not_shown_as_output(tmp_path: Path) -> None:
    engine = NoEngine()
    async with SandboxService(engine) as broken, running_bot(tmp_path, broken) as bot:
        await bot.ask("```\nprint('x')\n```")

        assert "The sandbox failed: The Docker Engine does not answer." in bot.platform.text()
    await engine.aclose()


async def test_turns_of_many_threads_do_not_mix(direct: Bot) -> None:
    async def one(n: int) -> None:
        key = direct.message(f"```\nprint('answer', {n} * 2)\n```", thread=str(n))
        await direct.intake.take(key, direct.platform)
        assert await direct.platform.ended(key.message_id) == "done"

    for start in range(0, 6, 3):
        await asyncio.gather(*(one(n) for n in range(start, start + 3)))

    for n in range(6):
        assert f"answer {n * 2}" in direct.platform.text().split("\n")
