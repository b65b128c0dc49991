"""What a turn queue does, in memory and on DBOS with SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio

from bot.durable import DbosTurnQueue, JsonSerializer
from bot.memory_queue import MemoryTurnQueue
from bot.ports import Steps, TurnQueue
from bot.step_results import StepResults
from sandbox.blobs import Blobs

# one loop for the module: its queues live as long
pytestmark = pytest.mark.asyncio(loop_scope="module")


class Recorder:
    """A runner that notes what it was given, and when it was done; `name` keeps its threads from other tests'."""

    def __init__(self) -> None:
        self.name = os.urandom(3).hex()
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.at_once: dict[str, int] = {}
        self.most_in_a_thread = 0
        self._changed = asyncio.Condition()
        self.work: Callable[[str, Steps], Awaitable[None]] | None = None

    async def run(self, turn_id: str, steps: Steps) -> Any:
        thread = turn_id.split("-")[0]
        self.begun.append(turn_id)
        self.at_once[thread] = self.at_once.get(thread, 0) + 1
        self.most_in_a_thread = max(self.most_in_a_thread, self.at_once[thread])
        if self.work is not None:
            await self.work(turn_id, steps)
        await asyncio.sleep(0.01)
        self.at_once[thread] -= 1
        async with self._changed:
            self.ended.append(turn_id)
            self._changed.notify_all()
        return "done"

    async def wait(self, count: int) -> None:
        async with self._changed, asyncio.timeout(30):
            await self._changed.wait_for(lambda: len(self.ended) >= count)


class Relay:
    """The runner of a queue that several tests share: each turn goes to the recorder of the test that queued it."""

    def __init__(self) -> None:
        self.to = Recorder()

    async def run(self, turn_id: str, steps: Steps) -> Any:
        return await self.to.run(turn_id, steps)


@pytest_asyncio.fixture(
    params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.postgres)],
    scope="module",
    loop_scope="module",
)
async def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[TurnQueue, Relay]]:
    """A queue that serves; to launch and stop DBOS takes seconds."""
    relay = Relay()
    queue: DbosTurnQueue | MemoryTurnQueue = MemoryTurnQueue()
    if request.param != "memory":
        url = f"sqlite:///{tmp_path_factory.mktemp('queue') / 'turns.sqlite'}"
        if request.param == "postgres":
            url = request.getfixturevalue("new_postgres_url")().replace("+asyncpg", "+psycopg")
        queue = DbosTurnQueue(database_url=url, results=StepResults(Blobs.at("memory://")), turns_at_once=8)
    await queue.start(relay)  # type: ignore[arg-type]
    yield queue, relay
    await queue.aclose()


@pytest.fixture
def recorder(served: tuple[TurnQueue, Relay]) -> Recorder:
    _, relay = served
    relay.to = Recorder()
    return relay.to


@pytest.fixture
def queue(served: tuple[TurnQueue, Relay]) -> TurnQueue:
    return served[0]


async def test_turns_of_a_thread_run_one_at_a_time_in_order(queue: TurnQueue, recorder: Recorder) -> None:
    ids = [f"{recorder.name}a-{n:08}" for n in range(10)]
    for turn_id in ids:
        await queue.enqueue(turn_id, f"{recorder.name}a")

    await recorder.wait(10)

    assert recorder.ended == ids
    assert recorder.most_in_a_thread == 1


async def test_threads_do_not_wait_for_each_other(queue: TurnQueue, recorder: Recorder) -> None:
    together = asyncio.Barrier(2)

    async def meet(turn_id: str, steps: Steps) -> None:
        async with asyncio.timeout(10):
            await together.wait()

    recorder.work = meet
    await queue.enqueue(f"{recorder.name}a-00000001", f"{recorder.name}a")
    await queue.enqueue(f"{recorder.name}b-00000001", f"{recorder.name}b")

    await recorder.wait(2)


async def test_a_turn_queued_twice_runs_once(queue: TurnQueue, recorder: Recorder) -> None:
    for _ in range(3):
        await queue.enqueue(f"{recorder.name}a-00000001", f"{recorder.name}a")
    await queue.enqueue(f"{recorder.name}a-00000002", f"{recorder.name}a")

    await recorder.wait(2)

    assert recorder.begun == [f"{recorder.name}a-00000001", f"{recorder.name}a-00000002"]


async def test_a_step_returns_what_its_work_returned(queue: TurnQueue, recorder: Recorder) -> None:
    got: list[Any] = []

    async def work(turn_id: str, steps: Steps) -> None:
        async def value() -> dict[str, Any]:
            return {"text": "é", "list": [1, 2.5, None]}

        got.append(await steps.step("one", value))

    recorder.work = work
    await queue.enqueue(f"{recorder.name}a-00000001", f"{recorder.name}a")
    await recorder.wait(1)

    assert got == [{"text": "é", "list": [1, 2.5, None]}]


async def test_the_record_is_json_and_never_pickle() -> None:
    serializer = JsonSerializer()

    assert serializer.deserialize(serializer.serialize({"a": [1, "é"]})) == {"a": [1, "é"]}
    assert isinstance(serializer.deserialize(serializer.serialize(ValueError("x"))), RuntimeError)
    with pytest.raises(TypeError):
        serializer.serialize(object())
