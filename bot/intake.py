"""Where every message comes in: claimed once, checked against the limits, queued; and swept up after a crash."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import structlog

from bot.commands import Commands
from bot.errors import Refused
from bot.model import IncomingMessage, Receipt, Turn
from bot.ports import Inbox, Platform, TurnQueue
from bot.text import size_words

log = structlog.get_logger()

SWEEP_SECONDS = 30.0
MAX_ATTACHMENTS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeLimits:
    """What one message may be and how many of a person's turns may wait."""

    message_chars: int
    upload_bytes: int
    turns_per_person: int


class Intake:
    """`take` a message from a platform; `sweep` queues what a crash left between claim and queue."""

    def __init__(self, inbox: Inbox, queue: TurnQueue, commands: Commands, limits: IntakeLimits) -> None:
        self._inbox = inbox
        self._queue = queue
        self._commands = commands
        self._limits = limits

    async def take(self, message: IncomingMessage, platform: Platform) -> Receipt:
        """Claim and queue a message. Raises Refused with the limit named; nothing is kept then."""
        self._check(message)
        answer = message.for_us or await self._inbox.is_engaged(message.key)
        command = await self._commands.word(message) if answer else None
        if command is not None:
            return Receipt(kind="command", answer=command)
        if answer:
            await self._check_person(message)
        turn = await self._inbox.claim(message, answer=answer)
        if turn is None:
            return Receipt(kind="duplicate" if answer else "context")
        await platform.mark(message, "seen")
        await self._queue.enqueue(turn.id, turn.thread_id)
        return Receipt(kind="turn", turn=turn)

    def _check(self, message: IncomingMessage) -> None:
        limits = self._limits
        if message.for_us and not message.text.strip() and not message.attachments:
            raise Refused("Your message is empty. Tell me what to do, or send a code block to run.")
        if len(message.text) > limits.message_chars:
            raise Refused(
                f"Your message has {len(message.text):,} characters; I take {limits.message_chars:,}. "
                "Send long text as a file instead."
            )
        if len(message.attachments) > MAX_ATTACHMENTS:
            raise Refused(f"{len(message.attachments)} files in one message; I take {MAX_ATTACHMENTS}.")
        for attachment in message.attachments:
            if attachment.size > limits.upload_bytes:
                most = size_words(limits.upload_bytes)
                raise Refused(f"{attachment.name} has {size_words(attachment.size)}; I take {most} a file.")

    async def _check_person(self, message: IncomingMessage) -> None:
        waiting = await self._inbox.queued_by(message.author.id, message.key.platform)
        if waiting >= self._limits.turns_per_person:
            most = self._limits.turns_per_person
            raise Refused(
                f"{waiting} of your requests are waiting already; I keep {most} for each person. "
                "Wait for one to end, or say stop."
            )

    async def retry(self, turn_id: str) -> Turn:
        """Another turn for the message of an ended one. Raises LookupError, Refused."""
        await self._check_person(await self._inbox.message_of(turn_id))
        turn = await self._inbox.again(turn_id)
        await self._queue.enqueue(turn.id, turn.thread_id)
        return turn

    async def abandon(self, platform: Platform) -> None:
        """End what an earlier process left of a platform that does not outlive us."""
        await self._inbox.abandon(platform.name)

    async def sweep(self) -> int:
        """Queue every claimed turn that has not ended; those that are queued already are not queued twice."""
        turns = await self._inbox.unfinished()
        for turn in turns:
            await self._queue.enqueue(turn.id, turn.thread_id)
        return len(turns)

    async def sweep_forever(self) -> None:
        """Sweep now and then."""
        while True:
            try:
                await self.sweep()
            except Exception:  # a database that fails now may work in half a minute
                log.exception("intake.sweep_failed")
            await asyncio.sleep(SWEEP_SECONDS)
