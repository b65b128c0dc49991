"""The turn queue on DBOS: a turn that a crash interrupts begins again and repeats no step that it has done.

The workflow's id is the turn's: it names the thread and the padded arrival number, since DBOS breaks ties of its
one-second clock by id. Chunks of output never pass through here, and big results are in the blob store.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from dbos import DBOS, DBOSConfig, SetEnqueueOptions, SetWorkflowID, WorkflowStatus
from dbos._serialization import Serializer  # the only place that has the base class; checked by the contract tests
from sqlalchemy.engine import make_url

from bot.model import Json, TurnStatus
from bot.step_results import StepResults
from bot.turn import TurnRunner

log = structlog.get_logger()

APPLICATION_VERSION = "3"  # raised when the sequence of steps of a turn changes
QUEUE = "turns"
POLL_SECONDS = 0.02
AT_A_TIME = 500  # workflows that are forgotten with one call
FORGET_MOST = 10_000  # finished ones, at one start
KEEP_FINISHED = timedelta(days=7)  # and until the next start
STOP_SECONDS = 10.0  # for turns that are cut off when the process stops


class JsonSerializer(Serializer):
    """Versioned JSON; the default would be pickle."""

    def serialize(self, data: Any) -> str:
        """Raises TypeError for what is not plain data; an exception becomes its class name and text."""
        return json.dumps({"v": 1, "data": data}, default=_plain)

    def deserialize(self, serialized_data: str) -> Any:
        """What `serialize` was given; exceptions come back as RuntimeError."""
        data = json.loads(serialized_data)["data"]
        if isinstance(data, dict) and set(data) == {"__error__", "text"}:
            return RuntimeError(f"{data['__error__']}: {data['text']}")
        return data

    def name(self) -> str:
        """Kept beside every value."""
        return "threadbox_json_1"


def _use_wal(database_url: str) -> None:
    """SQLite keeps this with the file: a writer then holds up no reader."""
    path = make_url(database_url).database
    if database_url.startswith("sqlite") and path:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")


def _plain(value: Any) -> Any:
    if isinstance(value, BaseException):
        return {"__error__": type(value).__name__, "text": str(value)}
    raise TypeError(f"{type(value).__name__} is not plain data")


class DbosSteps:
    """The Steps port inside a DBOS workflow."""

    def __init__(self, turn_id: str, results: StepResults) -> None:
        self._turn_id = turn_id
        self._results = results

    async def step(self, name: str, work: Callable[[], Awaitable[Json]]) -> Json:
        """See bot.ports.Steps. Raises RecordLost."""
        done: list[Json] = []

        async def run() -> Json:
            done.append(await work())
            return await self._results.recorded(self._turn_id, done[0])

        recorded: Json = await DBOS.run_step_async({"name": name}, run)
        return done[0] if done else await self._results.whole(self._turn_id, recorded)


class DbosTurnQueue:
    """The TurnQueue port on DBOS; one instance a process, as DBOS is."""

    def __init__(
        self, *, database_url: str, results: StepResults, turns_at_once: int, version: str = APPLICATION_VERSION
    ) -> None:
        self._database_url = database_url
        self._results = results
        self._version = version
        self._turns_at_once = turns_at_once
        self._workflow: Any = None
        self._tasks: set[asyncio.Task[Any]] = set()

    async def start(self, runner: TurnRunner) -> None:
        """Connect, take up what a dead process left, and serve."""
        config: DBOSConfig = {
            "name": "threadbox",
            "system_database_url": self._database_url,
            "application_version": self._version,
            "executor_id": "local",
            "serializer": JsonSerializer(),
            "log_level": "WARNING",
            "console_log_level": "WARNING",
        }
        _use_wal(self._database_url)  # before anything else runs; DBOS takes over the threads of this loop
        DBOS(config=config)

        @DBOS.workflow(name="turn")
        async def turn(turn_id: str) -> str:
            return await self._running(runner.run(turn_id, DbosSteps(turn_id, self._results)))

        self._workflow = turn
        DBOS.launch()
        await DBOS.register_queue_async(
            QUEUE, partition_concurrency=1, worker_concurrency=self._turns_at_once, polling_interval_sec=POLL_SECONDS
        )
        await self._forget_useless()

    async def _forget_useless(self) -> None:
        """Workflows of another version, which nobody would take up and which hold their threads; and old finished ones.

        The sweep queues the turns again that have not ended: one that had begun finds so, and says it.
        """
        unfinished = await self._unfinished()
        useless = [found.workflow_id for found in unfinished if found.app_version != self._version]
        before = (datetime.now(UTC) - KEEP_FINISHED).isoformat()
        finished = await DBOS.list_workflows_async(
            status=["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"],
            completed_before=before,
            limit=FORGET_MOST,
            load_input=False,
            load_output=False,
        )
        useless += [found.workflow_id for found in finished]
        for first in range(0, len(useless), AT_A_TIME):
            await DBOS.delete_workflows_async(useless[first : first + AT_A_TIME])
        if useless:
            log.info("turns.forgotten", count=len(useless))

    @staticmethod
    async def _unfinished() -> list[WorkflowStatus]:
        return await DBOS.list_workflows_async(
            status=["PENDING", "ENQUEUED", "DELAYED"], load_input=False, load_output=False
        )

    async def forget_results(self) -> int:
        """Delete the big results of turns that ended so long ago that they are forgotten. Raises BlobsUnavailable."""
        unfinished = {found.workflow_id for found in await self._unfinished()}
        return await self._results.forget(datetime.now(UTC) - KEEP_FINISHED, unfinished)

    async def enqueue(self, turn_id: str, thread_id: str) -> None:
        """See bot.ports.TurnQueue."""
        with SetWorkflowID(turn_id), SetEnqueueOptions(queue_partition_key=thread_id):
            await DBOS.enqueue_workflow_async(QUEUE, self._workflow, turn_id)

    async def _running(self, work: Coroutine[Any, Any, TurnStatus]) -> TurnStatus:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await task

    async def aclose(self) -> None:
        """Stop serving; what runs is cut off and left for the next start to take up."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=STOP_SECONDS)
        await asyncio.to_thread(DBOS.destroy, destroy_registry=True)
