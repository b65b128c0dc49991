"""What scripts that a cell starts show is not lost: they have no screen, and no channel to the thread."""

from __future__ import annotations

import os

import pytest

from sandbox import Engine, Limits, Outcome, Sandbox

# matplotlib's backend is the image's affair, and not the runtime's: gVisor takes most of a minute for this
pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.docker,
    pytest.mark.parametrize("engine", ["docker"], indirect=True),
]
SHOW = "import matplotlib.pyplot as p; p.plot([1, 2]); p.show()"


async def run(sandbox: Sandbox, command: str) -> tuple[str, Outcome]:
    events = [event async for event in sandbox.run(command, "bash")]
    assert isinstance(events[-1], Outcome)
    return "".join(getattr(event, "text", "") for event in events), events[-1]


async def test_a_figure_that_a_script_shows_is_a_file_and_no_file_is_written_over(engine: Engine) -> None:
    sandbox = await Sandbox.start(engine, f"scripts-{os.urandom(4).hex()}", Limits(timeout_seconds=60))
    _, first = await run(sandbox, f'python3 -c "{SHOW}; p.plot([3]); p.show()"')
    _, second = await run(sandbox, f'python3 -c "{SHOW}"')
    _, saved = await run(sandbox, f'python3 -c "{SHOW.replace("p.show()", "p.savefig(chr(97)); p.show()")}"')
    data = await sandbox.get_file("figure-3.png", limit_bytes=1 << 20)
    refused, outcome = await run(sandbox, f'cd / && python3 -c "{SHOW}" && echo went on')
    await sandbox.remove()

    assert [[file.path for file in one.files] for one in (first, second, saved)] == [
        ["figure-1.png", "figure-2.png"], ["figure-3.png"], ["a.png"],
    ]  # fmt: skip
    assert data.startswith(b"\x89PNG")
    assert "The figure could not be saved as figure-1.png" in refused and "went on" in refused
    assert outcome.status == "ok"
