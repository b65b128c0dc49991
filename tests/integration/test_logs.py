"""What is logged of one turn: JSON, every line with the ids of its thread, turn and sandbox; no prompt, no output."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from bot.commands import sandbox_key
from bot.model import Json, Request
from bot.observability import configure_logs
from bot.ports import TurnTools
from sandbox.service import SandboxService
from tests.doubles.bot import SECRET, Bot, running_bot
from tests.doubles.model_server import Fault, ModelServer, python

# one loop for the module: its tests share the sandboxes of tests/integration/conftest.py
pytestmark = pytest.mark.asyncio(loop_scope="module")


class Lines(io.StringIO):
    """In place of standard error."""

    def read_lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lines]:
    before = structlog.get_config()
    monkeypatch.setattr(logging.root, "handlers", [])  # pytest's own
    monkeypatch.setattr(sys, "stderr", lines := Lines())
    configure_logs("info")
    yield lines
    structlog.configure(**before)
    logging.captureWarnings(False)


async def test_every_line_of_a_turn_is_json_and_names_its_thread_turn_and_sandbox(
    bot: Bot, model: ModelServer, lines: Lines
) -> None:
    model.script[:] = [python("print('out' + 'put-canary')", "words-canary"), "Told."]

    receipt = await bot.say("prompt-canary")
    assert receipt.turn is not None
    await bot.platform.ended(receipt.turn.message.message_id)
    async with bot.sandboxes.lease(sandbox_key(receipt.turn.key)) as lease:
        sandbox = lease.sandbox_id

    own = [line for line in lines.read_lines() if line.get("turn") == receipt.turn.id]
    assert [line["event"] for line in own] == ["turn.begun", "sandbox.opened", "turn.ended"]
    assert {line["thread"] for line in own} == {receipt.turn.thread_id}
    assert [line["sandbox"] for line in own] == [None, sandbox, sandbox]
    assert (own[1]["found"], own[2]["status"]) == ("new", "done")
    for canary in ("prompt-canary", "output-canary", "words-canary", SECRET):
        assert canary not in lines.getvalue()


async def test_what_a_model_server_says_of_its_failure_is_not_logged_since_it_may_quote_prompts_and_keys(
    bot: Bot, model: ModelServer, lines: Lines
) -> None:
    model.script[:] = [Fault(status=401)]

    assert await bot.ask("prompt-canary") == "failed"

    (failed,) = [line for line in lines.read_lines() if line["event"] == "model.failed"]
    assert (failed["error"], failed["status"]) == ("AuthenticationError", 401)
    assert "scripted" not in json.dumps(failed)  # the server's words
    assert "prompt-canary" not in lines.getvalue()


class Warns:
    """An agent that uses a library."""

    async def answer(self, request: Request, memory: Json | None, tools: TurnTools) -> Json | None:
        logging.getLogger("some.library").warning("slow: %s s", 3)
        return None


async def test_what_a_library_logs_in_a_turn_is_json_with_the_ids_of_the_turn(
    tmp_path: Path, sandboxes: SandboxService, lines: Lines
) -> None:
    async with running_bot(tmp_path, sandboxes, agent=Warns()) as bot:
        receipt = await bot.say("go")
        assert receipt.turn is not None
        await bot.platform.ended(receipt.turn.message.message_id)

    (line,) = [line for line in lines.read_lines() if line["event"] == "slow: 3 s"]
    assert (line["logger"], line["level"]) == ("some.library", "warning")
    assert (line["thread"], line["turn"]) == (receipt.turn.thread_id, receipt.turn.id)
