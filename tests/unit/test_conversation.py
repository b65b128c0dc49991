"""What a person types in a terminal, and what becomes of it when a turn fails."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any

from structlog.testing import capture_logs

from adapters.terminal import Conversation, Screen, TerminalPlatform
from adapters.terminal.config import TerminalConfig
from adapters.terminal.conversation import LOST, MAY_RETRY, NOTHING_FAILED, Answered
from bot.memory_queue import MemoryTurnQueue
from bot.model import Action, IncomingMessage, Notice, Receipt, Reply, Turn
from bot.ports import Platform

NOW = datetime(2026, 11, 23, tzinfo=UTC)


class Desk:
    """An Intake, and the runner of its queue. A turn of the script ends well, fails with an action, or breaks off."""

    def __init__(self, *script: Action | Exception | None) -> None:
        self.script = list(script)
        self.asked: list[str] = []
        self.queue = MemoryTurnQueue()
        self.platform = TerminalPlatform(Screen(io.StringIO()))
        self.queue.lost = self.platform.lost
        self.turns: dict[str, Turn] = {}

    async def take(self, message: IncomingMessage, platform: Platform) -> Receipt:
        if message.text == "help":
            return Receipt(kind="command", answer="Ask.")
        return Receipt(kind="turn", turn=await self._begin(message))

    async def retry(self, turn_id: str) -> Turn:
        return await self._begin(self.turns[turn_id].message)

    async def _begin(self, message: IncomingMessage) -> Turn:
        turn_id = f"t-{len(self.turns)}"
        turn = Turn(id=turn_id, thread_id="t", key=message.key, message=message, status="queued", created_at=NOW)
        self.turns[turn_id] = turn
        await self.queue.enqueue(turn_id, "t")
        return turn

    async def run(self, turn_id: str, steps: object) -> None:
        message = self.turns[turn_id].message
        self.asked.append(message.text)
        await self.platform.mark(message, "working")
        end = self.script.pop(0)
        if isinstance(end, Exception):
            raise end
        if end is not None:
            notice = Notice(text="It failed.", level="error")
            reply = Reply(turn_id=turn_id, part=0, blocks=(notice,), final=True, actions=(end,))
            await self.platform.publish(message.key, reply)
        await self.platform.mark(message, "done" if end is None else "failed")


class Typed:
    """A Keyboard with lines by a script."""

    is_terminal = False
    was_left = False

    def __init__(self, *lines: str) -> None:
        self.lines = list(lines)

    async def line(self, prompt: str) -> str | None:
        return self.lines.pop(0) if self.lines else None


async def conversation(desk: Any) -> Conversation:
    await desk.queue.start(desk)
    return Conversation(desk, desk, desk.platform, TerminalConfig(), lambda: NOW)


async def talk(desk: Desk, *lines: str) -> list[str]:
    """What is said when these lines are typed."""
    said: list[str] = []
    keyboard: Any = Typed(*lines)
    await (await conversation(desk)).talk(keyboard, said.append, said.append)
    return said


async def test_retry_asks_again_what_failed_until_it_ends_well() -> None:
    desk = Desk("retry", "retry", None)

    said = await talk(desk, "plot", "help", "Retry.", "retry", "retry")

    assert desk.asked == ["plot", "plot", "plot"]
    assert said == [MAY_RETRY, "Ask.", MAY_RETRY, NOTHING_FAILED]


async def test_what_failed_for_good_is_not_offered_again() -> None:
    desk = Desk("reset")

    assert await talk(desk, "retry", "plot", "retry") == [NOTHING_FAILED, NOTHING_FAILED]
    assert desk.asked == ["plot"]


async def test_who_asks_once_may_say_retry_to_the_agent() -> None:
    desk = Desk(None)

    assert await (await conversation(desk)).ask("retry") == Answered(status="done")
    assert desk.asked == ["retry"]


async def test_a_turn_that_breaks_off_without_a_word_is_seen_to_end() -> None:
    desk = Desk("retry", OSError("the disk is full"), None)

    with capture_logs() as logs:
        said = await talk(desk, "plot", "retry", "retry", "and now?")

    assert said == [MAY_RETRY, LOST, NOTHING_FAILED]
    assert desk.asked == ["plot", "plot", "and now?"]
    assert [entry["event"] for entry in logs] == ["turn.lost"]
