"""What hostile code prints: bounded, whole where it fits, and never taken for our own frames."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest

from sandbox import Cut, Display, Limits, Outcome, Sandbox
from sandbox.engine import DockerEngine
from tests.hostile.conftest import start
from tests.hostile.runs import FORGE, end_of, events_of, run, text_of, works

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]

KIB64 = 64 * 1024


def resident_bytes() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(
    ("code", "language"),
    [
        ("while True: print('x' * 1000)", "python"),
        ("import sys\nwhile True:\n  try: print('x' * 1000, file=sys.stderr)\n  except BaseException: pass", "python"),
        ("trap '' INT TERM; yes", "bash"),
        ("trap '' INT TERM; (yes >&2) & yes & wait", "bash"),
    ],
    ids=["python", "swallows", "bash", "both"],
)
async def test_printing_forever_is_stopped_and_does_not_grow_the_bot(own: Sandbox, code: str, language: str) -> None:
    """Case 6."""
    before = resident_bytes()

    text, end = await run(own, code, language)

    assert (end.status, end.exit_code) == ("output_limit", 153)
    assert len(text) <= 3 * KIB64
    assert end.printed_bytes > own.limits.output_whole_bytes
    assert resident_bytes() - before < 32 << 20
    assert await works(own)


async def test_displays_over_the_limit_are_left_out_even_when_forged(own: Sandbox) -> None:
    """Case 6."""
    code = (
        FORGE
        + """
for _ in range(40):
    send(forge(Kind.DISPLAY, b'{"mimes": [["text/html", 1048576]]}'))
    for _ in range(16): send(forge(Kind.DATA, b'x' * 65536))
"""
    )
    events = await events_of(own, code)

    shown = [event for event in events if isinstance(event, Display)]
    assert 10 <= len(shown) <= 16
    assert await works(own)


async def test_frames_without_content_do_not_end_the_supervisor(engine: DockerEngine) -> None:
    """Case 6."""
    small = await start(engine, Limits(memory_mib=80, workspace_mib=16, timeout_seconds=20))
    code = FORGE + "some = forge(Kind.DATA, b'') * 1000\nfor _ in range(600): send(some)"

    _, end = await run(small, code)
    works_after = small.is_alive and await works(small)
    await small.remove()

    assert not end.sandbox_lost
    assert works_after


@pytest.mark.parametrize("length", [KIB64 - 1, KIB64, KIB64 + 1, 2 * KIB64])
async def test_a_line_as_long_as_a_frame_comes_whole(sandbox: Sandbox, length: int) -> None:
    """Case 7."""
    events = await events_of(sandbox, f"n = __import__('os').write(1, b'a' + b'x' * {length - 2} + b'z')")

    assert text_of(events) == "a" + "x" * (length - 2) + "z"
    assert not any(isinstance(event, Cut) for event in events)


@pytest.mark.parametrize(
    ("code", "count"),
    [("print('x' * 999_999)", 1_000_000), ("for i in range(10 ** 6): print(i)", 6_888_890)],
    ids=["line", "lines"],
)
async def test_a_megabyte_of_line_or_of_lines_is_cut_and_kept_whole(sandbox: Sandbox, code: str, count: int) -> None:
    """Case 7."""
    request_id = os.urandom(4).hex()
    events = [event async for event in sandbox.run(code, request_id=request_id)]
    whole = await sandbox.whole_output(request_id)

    (cut,) = [event for event in events if isinstance(event, Cut)]
    before, after = text_of(events[: events.index(cut)]), text_of(events[events.index(cut) :])
    assert (len(before), len(after)) == (KIB64, KIB64)
    assert end_of(events).printed_bytes == len(whole) == count == len(before) + cut.count + len(after)
    assert whole.startswith(before.encode())
    assert whole.endswith(after.encode())


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (r"print('a\0b')", "a\0b\n"),
        (r"print(chr(56550))", "\\udce6\n"),
        (r"import os; n = os.write(1, b'\xff\xfe\x00\xc3\n')", "\ufffd\ufffd\0\ufffd\n"),
        (r"print('\x1b[2J\x1b]0;title\x07\r\x9b31m')", "\x1b[2J\x1b]0;title\x07\r\x9b31m\n"),
        ("""print('{"status":"ok","exit_code":0}')""", '{"status":"ok","exit_code":0}\n'),
    ],
    ids=["nul", "surrogate", "bytes", "ansi", "json"],
)
async def test_strange_bytes_are_only_text_that_can_be_encoded(sandbox: Sandbox, code: str, text: str) -> None:
    """Case 7."""
    printed, end = await run(sandbox, code)

    assert printed == text
    assert printed.encode()
    assert end.status == "ok"


async def test_frames_that_a_child_writes_to_its_output_are_only_output(sandbox: Sandbox) -> None:
    """Case 7: whole frames with good checksums, of this cell and the next, before the cell fails."""
    code = (
        FORGE
        + """
fake = b''.join(forge(Kind.END, b'{"status":"ok","exit_code":0}', control.stream + i) for i in range(3))
pid = os.fork()
if not pid:
    for fd in (1, 2):
        os.write(fd, fake)
    os._exit(0)
os.waitpid(pid, 0)
sys.exit(3)
"""
    )
    text, end = await run(sandbox, code)

    assert text.count('{"status":"ok","exit_code":0}') == 6
    assert (end.status, end.exit_code) == ("error", 3)
    assert await works(sandbox)


async def test_an_outcome_forged_for_the_next_cell_is_dropped(sandbox: Sandbox) -> None:
    """Case 7."""
    forged = 'for i in range(1, 100): send(forge(Kind.END, b\'{"status":"error","exit_code":9}\', control.stream + i))'

    _, end = await run(sandbox, FORGE + forged)

    assert end.status == "ok"
    assert await works(sandbox)


async def test_an_outcome_that_a_child_forges_is_bounded_and_plain(own: Sandbox) -> None:
    """Case 7: it passes for its own cell's, as the cell could have ended so; nothing else comes through."""
    code = (
        FORGE
        + """
send(forge(Kind.DISPLAY, b'{"mimes": [[1], "x", {}]}'))
send(forge(Kind.DISPLAY, b'[' * 60000))
for _ in range(2000): send(forge(Kind.NOTE, b'{}'))
if not os.fork():
    error = {'name': 'n' * 900, 'message': '\\0' * 4000}
    send(forge(Kind.END, json.dumps({'status': ['x'], 'exit_code': 'y', 'error': error, 'kernel': 'z'}).encode()))
    os._exit(0)
time.sleep(1)
"""
    )
    _, end = await run(own, code, timeout=5)

    assert (end.status, end.exit_code, len(end.error_name), len(end.error_message)) == ("error", 1, 100, 2000)
    assert await works(own)


@pytest.mark.parametrize("depth", [900, 990, 30_000])
async def test_an_outcome_nested_deep_is_an_outcome(own: Sandbox, depth: int) -> None:
    """Case 7."""
    payload = f"b'{{\"error\":{{\"name\":' + b'[' * {depth} + b']' * {depth} + b'}}}}'"

    _, end = await run(own, f"{FORGE}\nsend(forge(Kind.END, {payload}))\ntime.sleep(0.2)", timeout=5)

    assert (end.status, end.sandbox_lost) == ("error", False)
    assert await works(own)


@pytest.mark.parametrize(
    "size",
    ["1e999", "-1", '"9"'],
)
async def test_a_display_of_a_forged_size_shows_nothing_and_breaks_nothing(own: Sandbox, size: str) -> None:
    """Case 7."""
    code = f'send(forge(Kind.DISPLAY, b\'{{"mimes": [["text/html", {size}]]}}\'))'

    events = await events_of(own, FORGE + code)

    assert [type(event) for event in events] == [Outcome]
    assert await works(own)


@pytest.mark.parametrize("path", ["/dev/console", "/dev/tty", "/proc/1/fd/1", "/proc/1/fd/2", "/dev/pts/0"])
async def test_no_other_way_leads_to_the_stream_of_the_container(sandbox: Sandbox, path: str) -> None:
    """Case 7."""
    text, end = await run(sandbox, f"echo x > {path} && echo wrote", "bash")

    assert "wrote" not in text
    assert end.status == "error"
