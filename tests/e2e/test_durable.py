"""kill -9 in the middle: nothing is lost, nothing is answered or run twice, the order stays."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import pytest

from tests.doubles.model_server import Fault, model_server, python
from tests.e2e.threadbox import containers, remove_containers, threadbox

pytestmark = [pytest.mark.docker, pytest.mark.usefixtures("image")]


def rows(folder: Path, query: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(folder / "data" / "threadbox.sqlite") as database:
        return database.execute(query).fetchall()


def test_a_turn_goes_on_after_kill_9_without_repeating_a_call_or_a_cell(tmp_path: Path) -> None:
    with model_server([python("print('ran the cell')"), Fault(kind="hang")]) as model:
        settings = {"OPENAI_BASE_URL": model.url, "THREADBOX_MODEL": "scripted"}
        with threadbox(tmp_path, **settings) as first:
            thread = first.begin("compute")
            first.wait_for(thread, "Let me think")
            first.kill()
        model.script[:] = ["Finished after the restart."]
        with threadbox(tmp_path, **settings) as second:
            page = second.wait_for(thread, "Finished after the restart.")
            second.wait_for(thread, 'class="status done"')

        assert len(model.requests) == 3  # the cell's call once, the call that hung twice
    assert page.count("<samp>ran the cell</samp>") == 1
    assert len(rows(tmp_path, "SELECT * FROM runs")) == 1
    assert len(containers(tmp_path)) == 1  # the thread's, for the next start; nothing ready ahead is left


@pytest.mark.parametrize("is_there", [True, False])
def test_a_big_result_is_read_back_after_kill_9_or_the_turn_says_that_it_is_lost(
    tmp_path: Path, is_there: bool
) -> None:
    with model_server([python("print('é' * 20_000, 'the end')"), Fault(kind="hang")]) as model:
        settings = {"OPENAI_BASE_URL": model.url, "THREADBOX_MODEL": "scripted"}
        with threadbox(tmp_path, **settings) as first:
            thread = first.begin("compute")
            first.wait_for(thread, "Let me think")
            first.kill()
        (kept,) = (tmp_path / "data" / "state" / "steps").rglob("*/*")
        if not is_there:
            kept.unlink()
        model.script[:] = ["Finished after the restart."]
        with threadbox(tmp_path, **settings) as second:
            page = second.wait_for(
                thread, "Finished after the restart." if is_there else "what I had done so far cannot be read any more"
            )
            second.wait_for(thread, 'class="status done"' if is_there else 'class="status failed"')

        told = str(model.requests[-1]["messages"][-1])
        assert len(model.requests) == (3 if is_there else 2)
    assert "the end" in told or not is_there
    assert "the end</samp>" in page or not is_there
    assert len(rows(tmp_path, "SELECT * FROM runs")) == 1


def test_a_cell_under_way_at_kill_9_goes_on_and_is_told_whole_and_once(tmp_path: Path) -> None:
    """Case 41."""
    code = "import time\nprint('begun', flush=True)\ntime.sleep(4)\nn = globals().get('n', 0) + 1\nprint('ended', n)"
    with threadbox(tmp_path) as first:
        thread = first.begin(f"```\n{code}\n```")
        first.wait_for(thread, "<samp>begun")
        first.kill()
    with threadbox(tmp_path) as second:
        page = second.wait_for(thread, "ended 1")
        second.wait_for(thread, 'class="status done"')
        second.post(f"{thread}/messages", text="```\nprint('again', n)\n```")
        second.wait_for(thread, "again 1")

    assert page.count("<samp>begun") == 1
    assert len(rows(tmp_path, "SELECT * FROM runs")) == 2


def test_a_cell_whose_sandbox_died_with_the_bot_is_told_and_not_run_again(tmp_path: Path) -> None:
    with threadbox(tmp_path) as first:
        thread = first.begin("```\nimport time\nprint('begun', flush=True)\ntime.sleep(60)\n```")
        first.wait_for(thread, "<samp>begun")
        first.kill()
    remove_containers(tmp_path)
    with threadbox(tmp_path) as second:
        second.wait_for(thread, "Its outcome is unknown, and it was not run again.")


def test_twenty_messages_in_a_second_are_answered_in_order_over_a_kill(tmp_path: Path) -> None:
    settings = {"THREADBOX_TURNS_PER_PERSON": "100"}
    with threadbox(tmp_path, **settings) as first:
        thread = first.begin("```\nprint('number', 0)\n```")
        for number in range(1, 20):
            answer = first.post(
                f"{thread}/messages", text=f"```\nimport time; time.sleep(0.05)\nprint('number', {number})\n```"
            )
            assert answer.status_code == 204
        first.wait_for(thread, "number 4</samp>")
        first.kill()
    with threadbox(tmp_path, **settings):
        until = time.monotonic() + 60
        while rows(tmp_path, "SELECT count(*) FROM turns WHERE status = 'done'") != [(20,)]:
            assert time.monotonic() < until
            time.sleep(0.2)

    ended = [row[0] for row in rows(tmp_path, "SELECT id FROM turns ORDER BY ended_at")]
    assert ended == sorted(map(str, ended))
    assert len(rows(tmp_path, "SELECT * FROM runs")) == 20


def test_a_request_that_waits_for_others_of_its_author_waits_on_after_kill_9_and_then_runs(tmp_path: Path) -> None:
    with model_server([Fault(kind="hang")] * 2) as model:
        settings = {"OPENAI_BASE_URL": model.url, "THREADBOX_MODEL": "scripted"}
        with threadbox(tmp_path, **settings) as first:
            running = []
            for _ in range(2):
                running.append(first.begin("think"))
                first.wait_for(running[-1], "Let me think")
            third = first.begin("and this")
            first.wait_for(third, 'class="status queued"')
            first.kill()
        model.script[:] = [Fault(kind="hang"), Fault(kind="hang"), "The third is answered."]
        with threadbox(tmp_path, **settings) as second:
            until = time.monotonic() + 30
            while len(model.requests) < 4:
                assert time.monotonic() < until
                time.sleep(0.1)
            assert rows(tmp_path, "SELECT status, released FROM turns ORDER BY created_at") == [
                ("running", 1), ("running", 1), ("queued", 0),
            ]  # fmt: skip
            second.post(f"{running[0]}/messages", text="stop")
            second.wait_for(third, "The third is answered.")
        assert len(model.requests) == 5


def test_a_stop_of_the_service_leaves_no_container_and_the_turn_for_the_next_start(tmp_path: Path) -> None:
    with model_server([Fault(kind="hang")]) as model:
        settings = {"OPENAI_BASE_URL": model.url, "THREADBOX_MODEL": "scripted"}
        with threadbox(tmp_path, **settings) as first:
            thread = first.begin("think")
            first.wait_for(thread, "Let me think")
        assert first.process.returncode == 0
        assert containers(tmp_path) == []
        model.script[:] = ["Back again."]
        with threadbox(tmp_path, **settings) as second:
            second.wait_for(thread, "Back again.")
