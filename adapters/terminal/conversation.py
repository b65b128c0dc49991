"""What one person says, message by message, and what becomes of it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, NamedTuple

from adapters.terminal.adapter import Course, End, TerminalPlatform
from adapters.terminal.config import TerminalConfig
from adapters.terminal.inbound import message
from adapters.terminal.keyboard import Keyboard
from bot.errors import Refused
from bot.model import IncomingMessage, Receipt, ThreadKey, Turn
from bot.ports import Clock, Commands, Intake
from bot.text import in_code_block

STOPPING = "Stopping. Ctrl-C again leaves."
LEAVING = "Leaving."
LEAVING_SECONDS = 10.0  # code that does not want to stop is killed before
RETRY = "retry"
MAY_RETRY = "Type retry to try again."
NOTHING_FAILED = "There is nothing to try again: the last request did not fail."
LOST = "Something went wrong on my side, and what became of your request could not be kept. Please ask again."


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """How a message was answered; `words` are for who asked, where no reply said them."""

    status: Literal["done", "failed", "stopped", "refused"]
    words: str = ""


ENDS: dict[End, Answered] = {
    "done": Answered(status="done"),
    "failed": Answered(status="failed"),
    "stopped": Answered(status="stopped"),
    "lost": Answered(status="failed", words=LOST),
}


class Failed(NamedTuple):
    """A turn that may be retried, and what it was to answer."""

    turn_id: str
    sent: IncomingMessage


class Conversation:
    """One thread. Ctrl-C, `interrupted`, stops the turn that runs; at the prompt, or again, it leaves."""

    def __init__(
        self, intake: Intake, commands: Commands, platform: TerminalPlatform, config: TerminalConfig, clock: Clock
    ) -> None:
        self._intake = intake
        self._commands = commands
        self._platform = platform
        self._config = config
        self._clock = clock
        self._keyboard: Keyboard | None = None
        self._note: Callable[[str], None]
        self._stop: asyncio.Event | None = None  # of the turn that runs
        self._failed: Failed | None = None  # the last turn, where it is that

    async def ask(self, text: str) -> Answered:
        """Say something; the end of its turn."""
        sent = message(text, self._config, uuid.uuid4().hex, self._clock())
        return await self._follow(sent, self._intake.take(sent, self._platform))

    async def retry(self) -> Answered:
        """Ask again what failed; the end of that turn."""
        if self._failed is None:
            return Answered(status="refused", words=NOTHING_FAILED)
        return await self._follow(self._failed.sent, self._intake.retry(self._failed.turn_id))

    async def _follow(self, sent: IncomingMessage, begin: Awaitable[Receipt | Turn]) -> Answered:
        with self._platform.following(sent.message_id) as course:
            stop = self._stop = asyncio.Event()
            stopper = asyncio.ensure_future(self._stop_when_asked(sent.key, course, stop))
            try:
                begun = await begin
                if isinstance(begun, Receipt) and begun.kind == "command":
                    return Answered(status="done", words=begun.answer)
                end = await asyncio.shield(course.end)
                self._failed = Failed(course.retry, sent) if end == "failed" and course.retry else None
                return ENDS[end]
            except Refused as error:
                return Answered(status="refused", words=error.for_people)
            except asyncio.CancelledError:  # nobody else would stop its code, and while that runs nothing is saved
                with suppress(TimeoutError):
                    async with asyncio.timeout(LEAVING_SECONDS):
                        await self._stop_at_once(sent.key, course)
                raise
            finally:
                self._stop = None
                stopper.cancel()

    async def _stop_when_asked(self, key: ThreadKey, course: Course, stop: asyncio.Event) -> None:
        await stop.wait()
        await course.begun.wait()  # who stops what has only just been said means it too
        await self._commands.stop(key)

    async def _stop_at_once(self, key: ThreadKey, course: Course) -> None:
        if course.begun.is_set():
            await self._commands.stop(key)
            await asyncio.shield(course.end)

    async def talk(self, keyboard: Keyboard, say: Callable[[str], None], note: Callable[[str], None]) -> None:
        """Take messages until there are no more; `note` says something amid what a turn shows."""
        self._keyboard, self._note = keyboard, note
        while (text := await _message(keyboard)) is not None:
            if text.strip():
                answered = await (self.retry() if _is_retry(text) else self.ask(text))
                if answered.words:
                    say(answered.words)
                if answered.status == "failed" and self._failed is not None:
                    say(MAY_RETRY)

    def interrupted(self) -> bool:
        """Do what Ctrl-C asks for; false where that is to end the program, as it always is for a pipe."""
        if self._keyboard is None or not self._keyboard.is_terminal:
            return False
        if self._stop is None:
            return self._keyboard.leave()
        if self._stop.is_set():
            self._note(LEAVING)
            return False
        self._stop.set()
        self._note(STOPPING)
        return True


def _is_retry(text: str) -> bool:
    return text.strip().lower().rstrip(".!") == RETRY


async def _message(keyboard: Keyboard) -> str | None:
    """A line; or where it opens a code block, all lines to the end of that. Who leaves the block begins anew."""
    text = await keyboard.line("> ")
    while text is not None and in_code_block(text):
        line = await keyboard.line("... ")
        if keyboard.was_left:
            text = await keyboard.line("> ")
        elif line is None:
            return text
        else:
            text = f"{text}\n{line}"
    return text
