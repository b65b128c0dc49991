"""What comes out of a sandbox and goes in: text, pictures and files, whichever engine keeps it."""

from __future__ import annotations

import json

import pytest

from sandbox import Cut, Display, Engine, Limits, Output, Sandbox
from sandbox.errors import FileRefused
from tests.contracts.runs import outcome, run, text

# one loop for the module: the tests share a sandbox, and only what a test breaks is made anew
pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_long_output_is_cut_in_the_middle_and_kept_whole(engine: Engine) -> None:
    limits = Limits(output_head_bytes=1000, output_tail_bytes=1000, timeout_seconds=20)
    sandbox = await Sandbox.start(engine, "contract-cut", limits)
    events = [e async for e in sandbox.run("for i in range(2000): print(f'{i:05}')", request_id="big")]
    whole = await sandbox.whole_output("big")
    await sandbox.remove()

    (cut,) = [event for event in events if isinstance(event, Cut)]
    before = text(events[: events.index(cut)])
    after = text(events[events.index(cut) :])
    assert (len(before), cut.count, len(after)) == (1000, 12000 - 2000, 1000)
    assert before + whole[1000:-1000].decode() + after == "".join(f"{i:05}\n" for i in range(2000))
    assert outcome(events).printed_bytes == 12000


async def test_a_flood_of_output_is_stopped(engine: Engine) -> None:
    limits = Limits(output_whole_bytes=200_000, timeout_seconds=20)
    sandbox = await Sandbox.start(engine, "contract-flood", limits)
    end = outcome(await run(sandbox, "while True: print('x' * 1000)"))
    after = outcome(await run(sandbox, "1"))
    await sandbox.remove()

    assert (end.status, end.exit_code) == ("output_limit", 153)
    assert end.printed_bytes < 2_000_000
    assert after.status == "ok"


async def test_bytes_that_are_no_text_are_replaced(sandbox: Sandbox) -> None:
    events = await run(sandbox, r"printf 'a\xff\xfe\x00b\n'", "bash")

    assert text(events) == "a\ufffd\ufffd\x00b\n"


async def test_text_cut_inside_a_character_is_put_together(sandbox: Sandbox) -> None:
    code = "import os,time\nos.write(1, b'\\xc3')\ntime.sleep(0.2)\nn = os.write(1, b'\\xa9')"

    assert text(await run(sandbox, code)) == "é"


async def test_output_that_looks_like_frames_is_only_output(sandbox: Sandbox) -> None:
    code = (
        "import os\nfrom struct import pack\n"
        "os.write(1, b'\\xf5tbx' + pack('>BIIQII', 5, 1, 1, 1, 2, 0) * 3)\nprint('after')"
    )

    events = await run(sandbox, code)

    assert text(events).endswith("after\n")
    assert outcome(events).status == "ok"


async def test_rich_values_come_as_displays(sandbox: Sandbox) -> None:
    code = "from IPython.display import HTML, display\ndisplay(HTML('<b>x</b>'))\nprint('after')"

    events = await run(sandbox, code)

    (display,) = [event for event in events if isinstance(event, Display)]
    assert display.bundle["text/html"] == b"<b>x</b>"
    assert events.index(display) < next(i for i, event in enumerate(events) if isinstance(event, Output))


async def test_drawings_markdown_and_json_come_as_they_are(sandbox: Sandbox) -> None:
    code = (
        "from IPython.display import JSON, SVG, Markdown, display\n"
        "display(SVG('<svg xmlns=\"http://www.w3.org/2000/svg\"/>'), Markdown('# x'), JSON({'a': [1, None]}))"
    )

    drawing, words, values = [event for event in await run(sandbox, code) if isinstance(event, Display)]

    assert drawing.bundle["image/svg+xml"].startswith(b"<svg")
    assert words.bundle["text/markdown"] == b"# x"
    assert json.loads(values.bundle["application/json"]) == {"a": [1, None]}


async def test_files_that_a_cell_makes_are_named(sandbox: Sandbox) -> None:
    await run(sandbox, "open('old.txt', 'w').write('1')")

    end = outcome(await run(sandbox, "import os\nos.makedirs('d')\nopen('d/new.txt', 'w').write('22')"))

    assert [(file.path, file.size) for file in end.files] == [("d/new.txt", 2)]


async def test_files_go_in_and_out(sandbox: Sandbox) -> None:
    data = bytes(range(256)) * 4096
    await sandbox.put_file("in/data.bin", data)

    events = await run(
        sandbox, "b = open('in/data.bin','rb').read(); open('out.bin','wb').write(b[::-1]); print(len(b))"
    )

    assert text(events).startswith(str(len(data)))
    assert [file.path for file in outcome(events).files] == ["out.bin"]
    assert await sandbox.get_file("out.bin", limit_bytes=1 << 21) == data[::-1]
    assert await sandbox.get_file("in/data.bin", limit_bytes=1 << 21) == data


async def test_an_empty_file_can_be_fetched(sandbox: Sandbox) -> None:
    await sandbox.put_file("empty", b"")

    assert await sandbox.get_file("empty", limit_bytes=10) == b""


@pytest.mark.parametrize("path", ["link", "folder/../../etc/passwd", "/..", "fifo", "folder", "none", "linked/x", ""])
async def test_only_regular_files_of_the_workspace_are_handed_over(sandbox: Sandbox, path: str) -> None:
    await run(sandbox, "ln -s /etc/passwd link; mkfifo fifo; mkdir folder; ln -s /etc linked", "bash")

    with pytest.raises(FileRefused):
        await sandbox.get_file(path, limit_bytes=1 << 20)


async def test_a_file_over_the_limit_is_refused_with_its_size(sandbox: Sandbox) -> None:
    await sandbox.put_file("big", b"x" * 1000)

    with pytest.raises(FileRefused, match="1000 bytes"):
        await sandbox.get_file("big", limit_bytes=999)
