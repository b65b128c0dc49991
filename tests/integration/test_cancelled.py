"""A turn that is cancelled, as when the bot ends, leaves nothing of it running."""

from __future__ import annotations

import asyncio

import pytest
from autogen_core import CancellationToken

from bot.agent.autogen import AutoGenAgent
from bot.agent.direct import DirectAgent
from bot.agent.tools import CellTools
from bot.memory_queue import MemorySteps
from bot.model import CellResult, Request
from bot.ports import Agent, TurnTools
from bot.stops import Stop
from tests.doubles.bot import model_settings
from tests.doubles.model_server import ModelServer, python

pytestmark = pytest.mark.asyncio(loop_scope="module")


class EndlessCells:
    """Code that runs until it is cancelled."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.ended = False

    async def run(self, language: str, code: str, *, known: bool = False) -> CellResult:
        self.begun.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.ended = True
        raise AssertionError


@pytest.mark.parametrize("kind", ["autogen", "direct"])
async def test_its_code_is_cancelled_with_it(kind: str, model: ModelServer) -> None:
    model.script[:] = [python("while True: pass")]
    agent: Agent = AutoGenAgent(model_settings(model.url)) if kind == "autogen" else DirectAgent()
    cells = EndlessCells()

    async def steer() -> list[Request]:
        return []

    tools = TurnTools(cells=cells, steps=MemorySteps(), emit=lambda event: None, stop=Stop(), steer=steer)
    answering = asyncio.ensure_future(agent.answer(Request(speaker="Ada", text="```python\n1\n```"), None, tools))
    await cells.begun.wait()
    answering.cancel()
    await asyncio.wait([answering])

    assert answering.cancelled()
    assert cells.ended
    if isinstance(agent, AutoGenAgent):
        await agent.aclose()


async def test_a_call_that_had_not_begun_when_the_turn_ended_runs_nothing() -> None:
    cells = EndlessCells()
    tools = CellTools(cells, Stop())
    python = tools.tools()[0]
    await tools.end()

    await python.run_json({"code": "1"}, CancellationToken())

    assert not cells.begun.is_set()
