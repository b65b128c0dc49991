"""Where every message comes in: claimed once, checked against the limits, queued; and swept up after a crash."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace

from bot.commands import Commands
from bot.errors import Refused
from bot.model import IncomingMessage, Person, Receipt, ThreadKey, Turn
from bot.options import Effective, Options
from bot.order import ThreadOrder
from bot.policy import may_ask, may_do
from bot.ports import Clock, Platform
from bot.releases import Releases
from bot.stops import Stops
from bot.store_ports import Choices, Inbox, People, Waiting
from bot.text import size_words

MAX_ATTACHMENTS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeLimits:
    """What one message may be and how many of a person's turns may wait, and run at a time."""

    message_chars: int
    upload_bytes: int
    turns_per_person: int
    running_per_person: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeStore:
    """The parts of the store that the intake reads and writes."""

    inbox: Inbox
    waiting: Waiting
    people: People
    choices: Choices
    together: Callable[[], AbstractAsyncContextManager[None]]
    """Makes the reads of a block one transaction."""


class Intake:
    """`take` a message from a platform; `sweep` queues what a crash left between claim and queue."""

    def __init__(
        self,
        store: IntakeStore,
        releases: Releases,
        commands: Commands,
        stops: Stops,
        options: Options,
        limits: IntakeLimits,
        clock: Clock,
    ) -> None:
        self._store = store
        self._inbox = store.inbox
        self._releases = releases
        self._commands = commands
        self._stops = stops
        self._options = options
        self._limits = limits
        self._clock = clock
        self._order = ThreadOrder()

    async def take(self, message: IncomingMessage, platform: Platform) -> Receipt:
        """See bot.ports.Intake."""
        receipt = await self.claim(message, platform)
        await self.begin(receipt)
        return receipt

    async def claim(self, message: IncomingMessage, platform: Platform) -> Receipt:
        """See bot.ports.Intake."""
        async with self._order.turn_of(message.key, message.sent_at):
            receipt = await self._claim(message, platform)
            if receipt.turn is not None:
                standing = await self._releases.standing(receipt.turn.id, receipt.turn.thread_id)
                await platform.mark(message, "seen" if standing == "free" else "queued")
                if standing == "held":
                    return replace(receipt, answer=_held_words(self._limits.running_per_person))
            return receipt

    async def begin(self, receipt: Receipt) -> None:
        """See bot.ports.Intake."""
        if receipt.turn is not None:
            await self._releases.begin(receipt.turn.id)

    async def _claim(self, message: IncomingMessage, platform: Platform) -> Receipt:
        async with self._store.together():
            known = await self._store.waiting.turn_of(message.key, message.message_id)
            engaged = await self._inbox.is_engaged(message.key)
            stored = await self._store.choices.stored(message.key)
            queued = await self._queued(message)
        if known is not None:
            return Receipt(kind="duplicate")
        if not message.for_us and not engaged and platform.keeps_history:
            return Receipt(kind="ignored")
        options = self._options.effective(stored)
        says_something = bool(message.text.strip() or message.attachments)
        followed = options.followups == "all" and options.answers == "on" and says_something
        followed = followed and may_ask(message.author, options) is None  # who may not is not told so at every word
        answer = message.for_us or (engaged and followed and not message.for_others)
        if answer:
            await self._check(message, options)
            if self._commands.is_word(message):
                return await self._command(message)
            await self._check_request(message, options, queued)
        turn = await self._inbox.claim(message, answer=answer)
        if turn is None:
            return Receipt(kind="duplicate" if answer else "context")
        return Receipt(kind="turn", turn=turn)

    async def check(self, message: IncomingMessage) -> None:
        """See bot.ports.Intake."""
        options = self._options.effective(await self._store.choices.stored(message.key))
        await self._check(message, options)
        await self._check_request(message, options, await self._queued(message))

    async def _check_request(self, message: IncomingMessage, options: Effective, queued: int) -> None:
        if options.answers == "off":
            raise Refused("I do not answer here. An admin can change that: `config set channel answers on`.")
        await self._check_person(message, options, queued)

    async def _queued(self, message: IncomingMessage) -> int:
        return await self._inbox.queued_by(message.author.id, message.key.platform)

    async def _command(self, message: IncomingMessage) -> Receipt:
        key = message.key
        if not await self._store.choices.is_new(key.platform, f"{key.workspace}/{key.channel}/{message.message_id}"):
            return Receipt(kind="duplicate")
        return Receipt(kind="command", answer=await self._commands.word(message))

    async def _check(self, message: IncomingMessage, options: Effective) -> None:
        refusal = may_ask(message.author, options)
        if refusal is not None:
            raise Refused(refusal)
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

    async def _check_person(self, message: IncomingMessage, options: Effective, queued: int) -> None:
        if queued >= self._limits.turns_per_person:
            most = self._limits.turns_per_person
            raise Refused(
                f"{queued} of your requests are waiting already; I keep {most} for each person. "
                "Wait for one to end, or say stop."
            )
        if options.daily_turns:
            today = self._clock().replace(hour=0, minute=0, second=0, microsecond=0)
            key = message.key
            used = await self._store.people.usage(key.platform, key.workspace, message.author.id, today)
            if used.turns >= options.daily_turns:
                raise Refused(f"You have made {used.turns} requests today; {options.daily_turns} are allowed a day.")

    async def retry(self, turn_id: str, person: Person | None = None) -> Turn:
        """See bot.ports.Intake."""
        message = await self._inbox.message_of(turn_id)
        options = self._options.effective(await self._store.choices.stored(message.key))
        if person is not None:
            refusal = may_ask(person, options) or may_do("rerun", person, frozenset({message.author.id}), options)
            if refusal is not None:
                raise Refused(refusal)
        await self._check_person(message, options, await self._queued(message))
        turn = await self._inbox.again(turn_id)
        await self._releases.begin(turn.id)
        return turn

    async def edited(self, key: ThreadKey, message_id: str, text: str) -> Turn | None:
        """See bot.ports.Intake."""
        if len(text) > self._limits.message_chars:
            return None
        turn = await self._store.waiting.edit(key, message_id, text)
        return turn if turn is not None and turn.status != "queued" else None

    async def deleted(self, key: ThreadKey, message_id: str) -> None:
        """See bot.ports.Intake."""
        turn = await self._store.waiting.turn_of(key, message_id)
        if turn is None:
            return
        if await self._store.waiting.withdraw(turn.id):
            self._releases.turn_ended()
        elif turn.status == "running":
            self._stops.stop(turn.key, turn.message.sent_at)

    async def abandon(self, platform: Platform) -> None:
        """End what an earlier process left of a platform that does not outlive us."""
        await self._inbox.abandon(platform.name)

    async def sweep(self) -> int:
        """Queue every claimed turn that may run and has not ended; those that are queued already, not twice."""
        return await self._releases.sweep()


def _held_words(most: int) -> str:
    requests = "1 request" if most == 1 else f"{most} requests"
    return f"You have {requests} running already; this one starts when one of them ends."
