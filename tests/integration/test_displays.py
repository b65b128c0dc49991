"""What code shows in its thread: pictures as such, pages and drawings as files, all else as text."""

from __future__ import annotations

import pytest

from bot.model import File, Picture
from tests.doubles.bot import Bot
from tests.doubles.model_server import ModelServer, python

pytestmark = pytest.mark.asyncio(loop_scope="module")
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


async def shown(bot: Bot, model: ModelServer, code: str) -> tuple[str, list[tuple[str, bytes]], list[str]]:
    """The thread's text; names and bytes of its files; names of its pictures."""
    model.script[:] = [python(f"from IPython import display as d\n{code}"), "Done."]
    await bot.ask("show it")
    blocks = [block for reply in bot.platform.posts.values() for block in reply.blocks]
    files = [block.artifact for block in blocks if isinstance(block, File)]
    kept = [(file.name, (await bot.artifacts.load(file.id))[1]) for file in files]
    return bot.platform.text(), kept, [block.artifact.name for block in blocks if isinstance(block, Picture)]


async def test_a_page_and_a_drawing_are_files(bot: Bot, model: ModelServer) -> None:
    code = "d.display(d.HTML('<h1>hi</h1>'), d.HTML('<b>2</b>'), d.SVG('<svg xmlns=\"http://www.w3.org/2000/svg\"/>'))"

    text, files, _ = await shown(bot, model, code)

    assert [name for name, _ in files] == ["page-1.html", "page-2.html", "drawing-3.svg"]
    assert files[0][1] == b"<h1>hi</h1>"
    assert b"<svg" in files[2][1]
    assert "object" not in text


async def test_a_table_is_text_although_it_has_html_too(bot: Bot, model: ModelServer) -> None:
    code = """
class Table:
    def __repr__(self): return 'a  b\\n1  2'
    def _repr_html_(self): return '<table/>'
d.display(Table())
"""

    text, files, _ = await shown(bot, model, code)

    assert "a  b\n1  2" in text
    assert files == []


async def test_markdown_and_json_are_text_in_their_own_form(bot: Bot, model: ModelServer) -> None:
    text, files, _ = await shown(bot, model, "d.display(d.Markdown('# Title'), d.JSON({'é': [1]}))")

    assert '# Title\n{\n  "é": [\n    1\n  ]\n}' in text
    assert files == []


async def test_json_that_would_grow_many_times_over_is_not_laid_out(bot: Bot, model: ModelServer) -> None:
    nested = "'['*400 + '1,'*5_000 + '1' + ']'*400"

    text, files, _ = await shown(bot, model, f"d.display({{'application/json': {nested}}}, raw=True)")

    assert "[" * 400 + "1,1," in text
    assert [(name, len(data)) for name, data in files] == [("output.txt", 10_802)]


async def test_json_of_half_a_character_is_shown_as_text_that_can_be_sent(bot: Bot, model: ModelServer) -> None:
    text, _, _ = await shown(bot, model, "d.display({'application/json': '\"' + chr(92) + 'ud800\"'}, raw=True)")

    assert '"?"' in text


async def test_a_picture_that_is_also_a_page_is_a_picture(bot: Bot, model: ModelServer) -> None:
    bundle = f"{{'image/png': {PNG!r}, 'text/html': '<img>', 'text/plain': '<Figure>'}}"

    text, files, pictures = await shown(bot, model, f"d.display({bundle}, raw=True)")

    assert pictures == ["figure-1.png"]
    assert files == []
    assert text.count("<Figure>") == 1  # in the code


async def test_what_a_turn_took_is_kept_with_it(bot: Bot, model: ModelServer) -> None:
    await shown(bot, model, "import time; time.sleep(0.05); sum(range(3_000_000))")

    used = await bot.front.people.usage("memory", bot.workspace, None, bot.message("x").sent_at.replace(year=2000))

    assert used.turns == 1
    assert used.run_seconds >= 0.05
    assert used.cpu_seconds > 0
    assert used.peak_bytes > 1_000_000
