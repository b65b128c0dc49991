"""What is taken in and what is refused, and the bot without a model."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.errors import Refused
from bot.model import Attachment
from tests.doubles.bot import Bot
from tests.doubles.model_server import Fault, ModelServer

# one loop for the module: its tests share the sandboxes of tests/integration/conftest.py
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize(
    ("text", "attachments", "words"),
    [
        ("", (), "empty"),
        ("x" * 1001, (), "1,001 characters; I take 1,000"),
        ("x", (Attachment(name="big.bin", size=200_000_000, source="s"),), "big.bin has 200.0 MB; I take 1.0 MB"),
        ("x", tuple(Attachment(name="a", size=1, source="s") for _ in range(11)), "11 files in one message; I take 10"),
    ],
)
async def test_what_is_too_much_is_refused_with_the_limit(
    direct: Bot, text: str, attachments: tuple[Attachment, ...], words: str
) -> None:
    with pytest.raises(Refused, match=words):
        await direct.say(text, attachments=attachments)


@pytest.mark.thorough
async def test_one_more_waiting_turn_than_allowed_is_refused_and_those_that_run_do_not_wait(
    bot: Bot, model: ModelServer
) -> None:
    model.script[:] = [Fault(kind="hang")] * 2
    for n in range(2):
        await bot.say(f"run {n}", thread=str(n))
        await bot.platform.shows("\n".join(["Let me think"] * (n + 1)))
    for n in range(3):
        await bot.say(f"wait {n}", thread="0")

    with pytest.raises(Refused, match="3 of your requests are waiting already; I keep 3 for each person"):
        await bot.say("one more", thread="1")

    for n in range(2):
        await bot.say("stop", thread=str(n))
    assert {await bot.platform.ended(str(n)) for n in (1, 2)} == {"stopped"}
    assert {await bot.platform.ended(str(n)) for n in (3, 4, 5)} == {"done"}


async def test_the_same_message_twice_is_one_turn(direct: Bot) -> None:
    sent = direct.message("```\nprint('once')\n```")

    receipts = [await direct.intake.take(sent, direct.platform) for _ in range(2)]
    await direct.platform.ended(sent.message_id)

    assert [receipt.kind for receipt in receipts] == ["turn", "duplicate"]
    assert direct.platform.text().splitlines()[-1] == "once"
    assert direct.platform.text().count("once") == 2  # in the code, which is folded, and its output


async def test_direct_mode_runs_blocks_in_order_up_to_the_first_that_fails(direct: Bot) -> None:
    await direct.ask("```python\nx = 1\n```\n```bash\necho two\n```\n```\n1/0\n```\n```\nprint('never')\n```")

    assert "two" in direct.platform.text()
    assert "ZeroDivisionError" in direct.platform.text()
    assert direct.platform.text().endswith("The block after it was not run.")


async def test_more_blocks_than_a_message_may_have_are_refused_with_the_bound(direct: Bot) -> None:
    await direct.ask("```\n1\n```\n" * 21)

    assert direct.platform.text() == "I run 20 blocks of a message at most; it has 21."


async def test_an_empty_follow_up_asks_nothing(bot: Bot, model: ModelServer) -> None:
    await bot.ask("hello")

    receipt = await bot.intake.take(replace(bot.message(" "), for_us=False), bot.platform)

    assert receipt.turn is None
    assert len(model.requests) == 1


async def test_direct_mode_says_how_to_set_a_model(direct: Bot) -> None:
    await direct.ask("plot something")

    assert "OPENAI_API_KEY" in direct.platform.text()


async def test_direct_mode_names_a_language_it_cannot_run(direct: Bot) -> None:
    await direct.ask("```rust\nfn main() {}\n```")

    assert "Cannot run 'rust'" in direct.platform.text()
