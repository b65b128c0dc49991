"""What every agent does: the one without a model, the one on AutoGen with a model's server, and that one loaded late."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from bot.agent.autogen import AutoGenAgent
from bot.agent.direct import DirectAgent
from bot.agent.lazy import LazyAgent
from bot.errors import BudgetSpent, Stopped
from bot.memory_queue import MemorySteps
from bot.model import CellDone, CellResult, CellStarted, Json, Request, TextDone, TurnEvent
from bot.ports import Agent, TurnTools
from bot.stops import Stop
from tests.doubles.bot import model_settings
from tests.doubles.cells import MemoryCells
from tests.doubles.model_server import ModelServer, model_server, python

# one loop for the module: its agents keep their connections
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with model_server() as running:
        yield running


@pytest_asyncio.fixture(params=["direct", "autogen", "lazy"], scope="module", loop_scope="module")
async def agent(request: pytest.FixtureRequest, server: ModelServer) -> AsyncIterator[Agent]:
    if request.param == "direct":
        yield DirectAgent()
        return
    kind = AutoGenAgent if request.param == "autogen" else LazyAgent
    with_model = kind(model_settings(server.url))
    yield with_model
    await with_model.aclose()


class Asked:
    """One turn of an agent, with everything beside it in memory."""

    def __init__(self, agent: Agent, server: ModelServer, record: dict[str, Json] | None = None) -> None:
        self._agent = agent
        self._server = server
        self.events: list[TurnEvent] = []
        self.stop = Stop()
        self.cells = MemoryCells(self.events.append)
        self._steps = MemorySteps(record)

    async def run(self, *cells: str, memory: Json | None = None, words: str = "please") -> Json | None:
        """Ask for cells: in the message for an agent without a model, else the model asks for them, then says so."""
        self._server.script[:] = [*(python(code) for code in cells), "That is all."]
        text = "\n".join([words, *(f"```\n{code}\n```" for code in cells)])
        tools = TurnTools(
            cells=self.cells, steps=self._steps, emit=self.events.append, stop=self.stop, steer=self._nothing
        )
        return await self._agent.answer(Request(speaker="Ada", text=text), memory, tools)

    @staticmethod
    async def _nothing() -> list[Request]:
        return []

    def stops(self, code: str) -> CellResult:
        """The end of a cell during which somebody pressed Stop."""
        self.stop.set()
        return CellResult(status="interrupted", exit_code=130, output="")

    @property
    def shown(self) -> list[str]:
        """What people see, in order."""
        found = []
        for event in self.events:
            match event:
                case CellStarted():
                    found.append(event.code.strip())
                case CellDone():
                    found.append(event.result.status)
                case TextDone():
                    found.append("words")
                case _:
                    pass
        return found


@pytest.fixture
def asked(agent: Agent, server: ModelServer) -> Asked:
    server.requests.clear()
    return Asked(agent, server)


async def test_a_request_without_code_is_answered_in_words(asked: Asked) -> None:
    await asked.run()

    assert asked.shown == ["words"]
    assert asked.cells.ran == []


async def test_code_runs_in_order_and_each_cell_is_shown_with_its_end(asked: Asked) -> None:
    await asked.run("a = 1", "b = 2")

    assert asked.cells.ran == [("python", "a = 1"), ("python", "b = 2")]
    assert [shown for shown in asked.shown if shown != "words"] == ["a = 1", "ok", "b = 2", "ok"]


async def test_a_cell_that_fails_does_not_fail_the_turn(asked: Asked) -> None:
    asked.cells.ends = lambda code: CellResult(status="error", exit_code=1, output="ZeroDivisionError")

    await asked.run("1/0")

    assert [shown for shown in asked.shown if shown != "words"] == ["1/0", "error"]


async def test_a_stop_during_a_cell_lets_no_other_begin_and_says_so(asked: Asked) -> None:
    asked.cells.ends = asked.stops

    with pytest.raises(Stopped):
        await asked.run("first", "second")

    assert asked.cells.ran == [("python", "first")]


async def test_a_budget_that_a_cell_finds_spent_ends_the_turn_with_its_words(asked: Asked) -> None:
    def spent(code: str) -> CellResult:
        raise BudgetSpent("This request has used its 60 s of processor time.")

    asked.cells.ends = spent

    with pytest.raises(BudgetSpent, match="used its 60 s"):
        await asked.run("first", "second")

    assert asked.cells.ran == [("python", "first")]


async def test_memory_is_plain_json_and_the_next_turn_takes_it_up(
    agent: Agent, server: ModelServer, asked: Asked
) -> None:
    memory = await asked.run("a = 1", words="the number is 7")
    kept: Any = json.loads(json.dumps(memory))
    then = Asked(agent, server)
    await then.run(memory=kept, words="which number?")

    assert kept == memory
    assert then.shown == ["words"]
    if memory is not None:  # without a model nothing is to be remembered
        said = str(server.requests[-1]["messages"])
        assert said.index("the number is 7") < said.index("ran a = 1") < said.index("which number?")


async def test_what_a_stopped_turn_leaves_in_memory_is_taken_up_too(
    agent: Agent, server: ModelServer, asked: Asked
) -> None:
    asked.cells.ends = asked.stops
    with pytest.raises(Stopped) as caught:
        await asked.run("first")

    then = Asked(agent, server)
    await then.run(memory=json.loads(json.dumps(caught.value.memory)))

    assert then.shown == ["words"]
    for request in server.requests:  # every call has its result, or a model's server refuses the thread for ever
        calls = [call["id"] for message in request["messages"] for call in message.get("tool_calls") or ()]
        assert calls == [message["tool_call_id"] for message in request["messages"] if message["role"] == "tool"]


async def test_a_turn_that_begins_again_shows_the_same_and_pays_for_nothing_twice(
    agent: Agent, server: ModelServer
) -> None:
    record: dict[str, Json] = {}
    first, second = (Asked(agent, server, record) for _ in range(2))
    server.requests.clear()
    memories = [await first.run("a = 1")]
    paid = len(server.requests)
    memories.append(await second.run("a = 1"))

    assert second.shown == first.shown
    assert len(server.requests) == paid
    assert [memory is None for memory in memories] == [memories[0] is None] * 2
