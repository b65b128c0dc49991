"""What a cell leaves running prints and shows when the cell has ended: it belongs to no later cell."""

from __future__ import annotations

import pytest

from sandbox import Outcome, Output, Sandbox
from sandbox.errors import FileRefused
from tests.hostile.runs import end_of, events_of, run, text_of, works

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]

LATER = "import time\nwhile time.monotonic() < until: time.sleep(0.01)\nprint('mine')"
DEADLINE = "import time\nuntil = time.monotonic() + 1\n"
DAEMON = """
import threading
from IPython.display import HTML, display
def late():
    while time.monotonic() < until:
        time.sleep(0.02)
        {act}
threading.Thread(target=late, daemon=True).start()
"""


@pytest.mark.parametrize("act", ["print('late')", "display(HTML('<b>late</b>'))"], ids=["print", "show"])
async def test_what_a_daemon_thread_prints_after_its_cell_is_not_the_next_cells(own: Sandbox, act: str) -> None:
    """Case 25."""
    await run(own, DEADLINE + DAEMON.format(act=act))

    events = await events_of(own, LATER)

    assert [type(event) for event in events] == [Output, Outcome]
    assert text_of(events) == "mine\n"


@pytest.mark.parametrize("language", ["bash", "python"])
async def test_what_a_process_prints_after_its_cell_is_not_the_next_cells(own: Sandbox, language: str) -> None:
    """Case 25."""
    late = "(for i in $(seq 40); do echo late; sleep 0.03; done) &"
    await run(own, DEADLINE)
    await run(own, late if language == "bash" else f"import os\nos.system({late!r})", language)

    text, _ = await run(own, LATER)

    assert text == "mine\n"


async def test_a_process_that_floods_after_its_cell_does_not_stop_the_next_cell(own: Sandbox) -> None:
    """Case 25."""
    await run(own, DEADLINE)
    await run(own, "yes &", "bash")

    events = await events_of(own, LATER)

    assert (text_of(events), end_of(events).status) == ("mine\n", "ok")


async def test_a_thread_that_displays_after_its_cell_disturbs_no_outcome(own: Sandbox) -> None:
    """Case 25."""
    code = "display(HTML('<b>late</b>'))"
    await run(own, DEADLINE + DAEMON.format(act=code))

    ends = [end_of(await events_of(own, f"print({number})")) for number in range(20)]

    assert {end.status for end in ends} == {"ok"}


async def test_what_a_thread_prints_between_two_cells_is_lost_and_not_kept_for_the_next(own: Sandbox) -> None:
    """Case 25."""
    code = "import threading\ndef late():\n  time.sleep(0.1); print('late'); open('done', 'w').close()\nthreading.Thread(target=late).start()"
    await run(own, DEADLINE + code)
    while not await has_file(own, "done"):
        await own.ping()

    text, _ = await run(own, "print('mine')")

    assert text == "mine\n"
    assert await works(own)


async def has_file(sandbox: Sandbox, path: str) -> bool:
    try:
        await sandbox.get_file(path, limit_bytes=0)
    except FileRefused:
        return False
    return True
