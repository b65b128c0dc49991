"""The card at the bottom of a thread that says we are at it, with the Stop button.

It comes when nothing else has been new for a moment, the next reply takes its place, it follows what people write
below it, and it goes with the end of the request.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

import discord
import structlog

from adapters.discord.calls import Calls, DiscordRefused
from adapters.discord.components import as_view
from adapters.discord.config import CARD_FRESH_SECONDS, CARD_SECONDS, DIRECT, GLOBAL, MOVE_SECONDS, STATES_KEPT
from adapters.discord.outbound import CARD, STOP, card_button, message_of, nonce, pressed
from adapters.discord.places import Place, Places
from bot.budget import Priority
from bot.model import ThreadKey

log = structlog.get_logger()

LEFT_OVER_MOST = 20  # messages looked through for a card of an earlier process
AT_ONCE = 8  # cards on their way
AGAIN_SECONDS = 10.0
BUSY_SECONDS = 0.5  # until a thread in which a reply is being posted is looked at again


@dataclass(slots=True)
class State:
    """Of one thread. Whoever posts in it as a reply holds `lock`."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    running: bool = False
    card: int | None = None
    posted_at: float = 0.0
    due: float | None = None
    move: bool = False
    looked: bool = False
    number: int = 0
    asked_for: str = ""


class Cards:
    """`run` shows and removes cards; the rest say what happens in a thread and return at once."""

    def __init__(self, calls: Calls, places: Places, clock: Callable[[], float]) -> None:
        self._calls = calls
        self._places = places
        self._clock = clock
        self._states: OrderedDict[ThreadKey, State] = OrderedDict()
        self._wake = asyncio.Event()
        # a nonce of an earlier process would bring back the message that its card became
        self._process = secrets.token_hex(4)
        self._waiting: set[ThreadKey] = set()
        """Threads in which something is due."""

    def state(self, key: ThreadKey) -> State:
        """Of a thread."""
        found = self._states.setdefault(key, State())
        self._states.move_to_end(key)
        if len(self._states) > STATES_KEPT:
            self._forget()
        return found

    def begin(self, key: ThreadKey, message_id: str) -> bool:
        """A request of a thread is at work; false when one is already, which took this message up."""
        state = self.state(key)
        if state.running:
            return False
        state.running, state.asked_for = True, message_id
        self._is_due(key, state, CARD_SECONDS)
        return True

    def end(self, key: ThreadKey) -> None:
        """It no longer is."""
        state = self.state(key)
        state.running = False
        self._is_due(key, state, 0.0)

    def replied(self, key: ThreadKey, *, final: bool) -> None:
        """A reply was posted or changed; one that is not final has a Stop of its own."""
        state = self.state(key)
        if not state.running:
            return
        if final:
            self._is_due(key, state, CARD_SECONDS)
        elif not state.move:
            state.due = None

    def covered(self, key: ThreadKey) -> None:
        """Somebody wrote below."""
        state = self._states.get(key)
        if state is not None and state.running:
            state.move = True
            self._is_due(key, state, MOVE_SECONDS)

    def take(self, state: State) -> int | None:
        """The card, for a reply to take its place; None where there is none or it is too old. Hold the lock."""
        if state.card is None or state.move or self._clock() - state.posted_at > CARD_FRESH_SECONDS:
            return None
        card, state.card, state.due = state.card, None, None
        return card

    def give_back(self, state: State, card: int) -> None:
        """The reply did not come: it is still a card."""
        state.card = card

    def became(self, key: ThreadKey, message: int) -> None:
        """A message that was a card is a reply."""
        state = self.state(key)
        if state.card == message:
            state.card = None

    def _is_due(self, key: ThreadKey, state: State, seconds: float) -> None:
        state.due = self._clock() + seconds
        self._waiting.add(key)
        self._wake.set()

    def _forget(self) -> None:
        for key, state in list(self._states.items())[: STATES_KEPT // 10]:
            if not state.running and state.card is None and not state.lock.locked():
                del self._states[key]

    async def run(self) -> None:
        """Show, move and remove cards, until cancelled."""
        places = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as group:
            while True:
                soonest: float | None = None
                for key in list(self._waiting):
                    wait = self._wait(key)
                    if wait is None:
                        self._waiting.discard(key)
                    elif wait <= 0:
                        await places.acquire()
                        self._waiting.discard(key)
                        group.create_task(self._work(key, places), name="discord-card")
                    else:
                        soonest = min(wait, soonest or wait)
                self._wake.clear()
                try:
                    async with asyncio.timeout(soonest):
                        await self._wake.wait()
                except TimeoutError:
                    continue

    def _wait(self, key: ThreadKey) -> float | None:
        """Seconds until something is due in a thread; None for nothing."""
        state = self._states.get(key)
        if state is None or state.due is None:
            return None
        return max(state.due - self._clock(), BUSY_SECONDS if state.lock.locked() else 0.0)

    async def _work(self, key: ThreadKey, places: asyncio.Semaphore) -> None:
        try:
            state = self.state(key)
            async with state.lock:  # while it is held nothing waits for a budget: replies of the thread would wait too
                if state.due is not None and state.due <= self._clock():
                    state.due = None
                    await self._show(key, state)
        except (DiscordRefused, ConnectionError) as error:
            log.info("discord.card_failed", error=str(error))
        except Exception:  # one card that fails must not end the others
            log.exception("discord.card_broken")
        finally:
            places.release()
            self._wake.set()

    async def _show(self, key: ThreadKey, state: State) -> None:
        if not state.running and state.card is None:
            return
        place = await self._places.of(key)
        if not state.looked:
            state.looked = True
            if key not in self._places.made:
                await self._remove_left_over(key, place, state.asked_for)
        if state.card is not None and (state.move or not state.running):
            await self.remove(key, state)
        if not state.running or state.card is not None:
            return
        if self._calls.budget.room(GLOBAL) < 1:  # answers go first
            self._is_due(key, state, CARD_SECONDS)
            return
        state.move = False
        state.number += 1
        state.card = await self._calls.send(
            place.channel,
            CARD,
            nonce=nonce(f"card/{self._process}/{key.thread}/{state.number}"),
            priority=Priority.FINAL,
            view=as_view([card_button(state.asked_for)]),
            answers=None if place.in_thread or not state.asked_for else int(state.asked_for),
        )
        state.posted_at = self._clock()

    async def remove(self, key: ThreadKey, state: State) -> None:
        """Take the card away; one that cannot be is tried again. Hold the lock."""
        state.move = False
        if state.card is None:
            return
        try:
            await self._calls.delete((await self._places.of(key)).channel, state.card, Priority.FINAL)
        except ConnectionError:
            self._is_due(key, state, AGAIN_SECONDS)
            return
        except DiscordRefused:
            log.info("discord.card_left")
        state.card = None

    async def _remove_left_over(self, key: ThreadKey, place: Place, asked_for: str) -> None:
        """What a process that was killed had shown; in a channel there are cards of other conversations."""
        for message in await self._calls.history(place.channel, LEFT_OVER_MOST, priority=Priority.FINAL):
            about = card_of(message, self._calls.client.user)
            if about is not None and (place.in_thread or key.workspace == DIRECT or about == asked_for):
                await self._calls.delete(place.channel, message.id, Priority.FINAL)


def card_of(message: discord.Message, us: discord.ClientUser | None) -> str | None:
    """The person's message that a card of ours is about; None for any other message."""
    if us is None or message.author.id != us.id:
        return None
    for name in custom_ids(message):
        action, key = pressed(name) or ("", "")
        if action == STOP and message_of(key) is not None:
            return message_of(key)
    return None


def custom_ids(message: discord.Message) -> set[str]:
    """The names of a message's buttons."""
    found: set[str] = set()
    for row in message.components:
        for item in getattr(row, "children", ()):
            found.add(str(getattr(item, "custom_id", "")))
    return found
