"""Big results of steps: kept apart from the record by their hash, read back by the next life of their turn."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.durable import DbosTurnQueue
from bot.errors import RecordLost
from bot.ports import Steps
from bot.step_results import RECORDED_BYTES, StepResults
from sandbox.blobs import Blobs
from sandbox.errors import BlobsUnavailable

BIG = {"output": "é" * RECORDED_BYTES, "n": 1}
SMALL = {"output": "x" * (RECORDED_BYTES - 20)}


class FailingBlobs(Blobs):
    """A store that is down."""

    async def put(self, name: str, chunks: AsyncIterator[bytes]) -> int:
        raise BlobsUnavailable

    async def get(self, name: str) -> AsyncIterator[bytes]:
        raise BlobsUnavailable
        yield b""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def results(folder: Path) -> StepResults:
    return StepResults(Blobs.at(str(folder)))


async def test_a_big_result_is_a_reference_in_the_record_and_comes_back_whole(results: StepResults) -> None:
    recorded = await results.recorded("t-1", BIG)

    assert len(str(recorded)) < 100
    assert await results.whole("t-1", recorded) == BIG


async def test_a_small_result_is_in_the_record_itself(results: StepResults, folder: Path) -> None:
    assert await results.recorded("t-1", SMALL) == SMALL
    assert await results.whole("t-1", SMALL) == SMALL
    assert not (folder / "steps").exists()


@pytest.mark.parametrize("fate", ["gone", "cut", "another"])
async def test_what_is_not_there_as_it_was_is_lost(results: StepResults, folder: Path, fate: str) -> None:
    recorded = await results.recorded("t-1", BIG)
    other = await results.recorded("t-2", {**BIG, "n": 2})
    (kept,) = (folder / "steps" / "t-1").iterdir()
    if fate == "gone":
        kept.unlink()
    elif fate == "cut":
        kept.write_bytes(kept.read_bytes()[:-10])
    else:
        (foreign,) = (folder / "steps" / "t-2").iterdir()
        shutil.copy(foreign, kept)

    with pytest.raises(RecordLost, match="Press Retry"):
        await results.whole("t-1", recorded)
    assert await results.whole("t-2", other) == {**BIG, "n": 2}


async def test_where_the_store_is_down_the_record_holds_all_and_reading_says_that_it_is_lost() -> None:
    down = StepResults(FailingBlobs.at("memory://"))

    assert await down.recorded("t-1", BIG) == BIG
    with pytest.raises(RecordLost):
        await down.whole("t-1", {"__blob__": "0" * 64})


async def test_old_ones_are_forgotten_but_not_of_a_turn_that_has_not_ended(results: StepResults) -> None:
    done, unfinished = await results.recorded("t-1", BIG), await results.recorded("t-2", BIG)
    now = datetime.now(UTC)

    assert await results.forget(now - timedelta(seconds=60), set()) == 0
    assert await results.forget(now + timedelta(seconds=60), {"t-2"}) == 1
    assert await results.whole("t-2", unfinished) == BIG
    with pytest.raises(RecordLost):
        await results.whole("t-1", done)


class Runner:
    """A turn with one big step, which waits in its first life and ends in its second."""

    def __init__(self) -> None:
        self.worked = 0
        self.got: list[Any] = []
        self._changed = asyncio.Condition()

    async def run(self, turn_id: str, steps: Steps) -> Any:
        try:
            got: Any = await steps.step("cell-1", self._work)
        except RecordLost as error:
            got = error
        async with self._changed:
            self.got.append(got)
            self._changed.notify_all()
        if len(self.got) == 1:
            await asyncio.Event().wait()
        return "done"

    async def _work(self) -> dict[str, Any]:
        self.worked += 1
        return BIG

    async def goes_on(self, count: int) -> None:
        async with self._changed, asyncio.timeout(30):
            await self._changed.wait_for(lambda: len(self.got) >= count)


@pytest.mark.parametrize("is_there", [True, False])
async def test_the_next_life_of_a_turn_reads_it_back_or_says_that_it_is_lost_and_never_hangs(
    tmp_path: Path, results: StepResults, folder: Path, is_there: bool
) -> None:
    path, runner = tmp_path / "turns.sqlite", Runner()
    for life in (1, 2):
        queue = DbosTurnQueue(database_url=f"sqlite:///{path}", results=results, turns_at_once=4)
        await queue.start(runner)  # type: ignore[arg-type]
        await queue.enqueue("a-00000001", "a")
        await runner.goes_on(life)
        assert await queue.forget_results() == 0
        await queue.aclose()
        if not is_there:
            shutil.rmtree(folder / "steps", ignore_errors=True)

    with contextlib.closing(sqlite3.connect(path)) as connection:
        ((recorded,),) = connection.execute("SELECT output FROM operation_outputs WHERE function_name = 'cell-1'")
    assert len(recorded) < 200
    assert runner.worked == 1
    assert runner.got[0] == BIG
    assert runner.got[1] == BIG if is_there else isinstance(runner.got[1], RecordLost)
