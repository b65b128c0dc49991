"""One turn, from its start to its last reply. Durable: everything it must not repeat goes through `Steps`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

import structlog

from bot.commands import sandbox_key
from bot.delivery import TurnDelivery, delivering
from bot.errors import BotError, Stopped
from bot.model import ENDED, CellDone, Ended, IncomingMessage, Json, ThreadKey, Turn, TurnEvent, TurnStatus, Used
from bot.observability import Changing
from bot.options import Effective
from bot.ports import Agent, Platform, Sign, Steps
from bot.render import Transcript, failed_after
from bot.secrets import Redactor
from bot.stops import Stop, Stops
from bot.store_ports import Artifacts, Outbox, Turns, Waiting
from bot.turn_work import TurnWork, WorkLimits, WorkParts
from bot.views import Cost
from sandbox import SandboxError
from sandbox.egress import Network
from sandbox.errors import WaitGivenUp
from sandbox.lease import Lease
from sandbox.service import SandboxService

log = structlog.get_logger()

T = TypeVar("T")
EffectiveOf = Callable[[ThreadKey], Awaitable[Effective]]
SIGNS: dict[TurnStatus, Sign] = {"done": "done", "stopped": "stopped", "failed": "failed"}
UPGRADED = "I was upgraded while I was at this, and cannot go on where I was. Press Retry to run it again."
BROKEN = "Something went wrong on my side. Your message is kept."
INTERRUPT_AGAIN_SECONDS = 0.2
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 0.2, 20.0  # doubled each time
SIGN_SECONDS = 5.0  # for a reaction; a platform that does not take one delays nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnLimits:
    """Bounds on one turn."""

    seconds: float
    work: WorkLimits
    patience_seconds: float
    """How long a turn that cannot be read, or cannot say how it ended, waits for a database that does not answer."""


class Spent:
    """What a turn has cost so far."""

    def __init__(self) -> None:
        self.cost = Cost()

    def add(self, event: TurnEvent) -> None:
        """Count what an event tells."""
        cost = self.cost
        match event:
            case Used():
                self.cost = replace(cost, tokens=cost.tokens + event.tokens)
            case CellDone(result=cell):
                self.cost = replace(
                    cost,
                    run_ms=cost.run_ms + round(cell.duration_ms),
                    cpu_ms=cost.cpu_ms + cell.cpu_ms,
                    peak_bytes=max(cost.peak_bytes, cell.peak_bytes),
                )
            case _:
                pass


class TurnRunner:
    """Runs turns by id; one at a time in a thread, which the queue sees to."""

    def __init__(
        self,
        *,
        turns: Turns,
        outbox: Outbox,
        artifacts: Artifacts,
        sandboxes: SandboxService,
        agent: Agent,
        platforms: Mapping[str, Platform],
        stops: Stops,
        limits: TurnLimits,
        redactor: Redactor,
        waiting: Waiting,
        options: EffectiveOf,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        self._turns = turns
        self._outbox = outbox
        self._sandboxes = sandboxes
        self._parts = WorkParts(turns=turns, artifacts=artifacts, agent=agent, waiting=waiting, limits=limits.work)
        self._platforms = platforms
        self._stops = stops
        self._limits = limits
        self._redactor = redactor
        self._waiting = waiting
        self._options = options
        self._ended = ended

    async def run(self, turn_id: str, steps: Steps) -> TurnStatus:
        """Answer the turn's message; how it ended. Cancelling leaves it to be taken up again."""
        try:
            return await self._known(turn_id, steps)
        finally:
            self._ended()

    async def _known(self, turn_id: str, steps: Steps) -> TurnStatus:
        turn = await self._patiently(lambda: self._turns.turn(turn_id))
        platform = self._platforms.get(turn.key.platform)
        if turn.status in ENDED:
            if turn.status == "stopped" and platform is not None:  # withdrawn before it began, which only this tells
                await self._sign(platform, turn.message, "stopped")
            return turn.status
        if platform is None:
            log.warning("turn.platform_absent", turn=turn_id, platform=turn.key.platform)
            await self._finish(turn_id, "failed", None)  # it would count as one of its author's for ever
            return "failed"
        with (
            structlog.contextvars.bound_contextvars(sandbox=None, thread=turn.thread_id, turn=turn_id),
            self._stops.running(turn.key, turn.message.sent_at, turn.id) as stop,
        ):
            try:
                return await self._run(turn, platform, steps, stop)
            except Exception:  # the store or the outbox failed: the turn must not look alive for ever
                log.exception("turn.broken")
                await self._finish(turn_id, "failed", None)
                await self._tell_broken(turn, platform)
                return "failed"

    async def _finish(self, turn_id: str, status: TurnStatus, memory: Json | None, cost: Cost | None = None) -> None:
        await self._patiently(lambda: self._turns.finish(turn_id, status, memory, cost))

    async def _patiently(self, do: Callable[[], Awaitable[T]]) -> T:
        """Try until it works. In the queue a turn that failed would never be taken up again, and hold its thread and
        its author's next ones."""
        until = asyncio.get_running_loop().time() + self._limits.patience_seconds
        seconds = FIRST_RETRY_SECONDS
        while True:
            try:
                return await do()
            except LookupError:
                raise
            except Exception:
                if asyncio.get_running_loop().time() > until:
                    raise
                log.warning("turn.store_failed", again_s=seconds, exc_info=seconds == FIRST_RETRY_SECONDS)
            await asyncio.sleep(seconds)
            seconds = min(seconds * 2, LONGEST_RETRY_SECONDS)

    async def _tell_broken(self, turn: Turn, platform: Platform) -> None:
        await self._sign(platform, turn.message, "failed")
        try:
            async with delivering(self._outbox, platform, turn.key, turn.id, self._redactor) as delivery:
                delivery.push([failed_after(delivery.earlier, turn.id, BROKEN, can_retry=True)])
        except Exception:  # its sign says so too
            log.exception("turn.broken_untold")

    async def _run(self, turn: Turn, platform: Platform, steps: Steps, stop: Stop) -> TurnStatus:
        async def status_before() -> Json:
            return {"status": turn.status}

        # in a life that goes on after a crash this is what the first life found
        is_new = (await steps.step("begin", status_before))["status"] == "queued"
        if not await self._patiently(lambda: self._turns.start(turn.id)):
            return "joined"
        log.info("turn.begun", again=turn.status != "queued")
        await self._sign(platform, turn.message, "working")
        spent = Spent()
        async with delivering(self._outbox, platform, turn.key, turn.id, self._redactor) as delivery:
            if is_new:
                status, memory = await self._answer(turn, platform, steps, delivery, stop, spent)
            else:  # what it has done is recorded in another version's way
                delivery.push([failed_after(delivery.earlier, turn.id, UPGRADED, can_retry=True)])
                status, memory = "failed", None
        sign = "failed" if delivery.undelivered else SIGNS[status]
        await self._finish(turn.id, status, memory, spent.cost)
        log.info("turn.ended", status=status)
        for message in [turn.message, *(joined.message for joined in await self._waiting.joined(turn.id))]:
            await self._sign(platform, message, sign)
        return status

    async def _answer(
        self, turn: Turn, platform: Platform, steps: Steps, delivery: TurnDelivery, stop: Stop, spent: Spent
    ) -> tuple[TurnStatus, Json | None]:
        """How the turn ended and what the agent remembers of it."""
        options = await self._options(turn.key)
        transcript = Transcript(turn.id, show_code=options.show_code == "on")

        def emit(event: TurnEvent) -> None:
            spent.add(event)
            delivery.push(transcript.apply(event))

        def fail(text: str, *, can_retry: bool = True) -> None:
            delivery.push(transcript.failure(text, can_retry=can_retry))

        clock = asyncio.get_running_loop().call_later(self._limits.seconds, stop.set, "time")
        try:
            async with self._lease(turn, options, stop) as lease:
                memory = await TurnWork(self._parts, turn, platform, lease, options).run(steps, emit, stop)
        except (Stopped, WaitGivenUp) as error:
            memory = error.memory if isinstance(error, Stopped) else None
            if stop.reason == "time":
                fail(f"Stopped: one request may take {self._limits.seconds:g} s.")
                return "failed", memory
            emit(Ended(status="stopped"))
            return "stopped", memory
        except BotError as error:
            fail(error.for_people, can_retry=error.can_retry)
            return "failed", error.memory
        except SandboxError as error:
            log.warning("turn.sandbox_failed", code=error.code)
            fail(f"The sandbox failed: {error} {error.mend}".strip())
            return "failed", None
        except Exception:
            log.exception("turn.failed")
            fail(BROKEN)
            return "failed", None
        finally:
            clock.cancel()
        emit(Ended(status="done"))
        return "done", memory

    @asynccontextmanager
    async def _lease(self, turn: Turn, options: Effective, stop: Stop) -> AsyncIterator[Lease]:
        async with self._sandboxes.lease(
            sandbox_key(turn.key),
            owner=f"{turn.key.platform}/{turn.key.workspace}",
            network=Network() if options.network == "off" else None,
        ) as lease:
            # a sandbox is made by the first use, which may be in a task of the agent's
            structlog.contextvars.bind_contextvars(sandbox=Changing(lambda: lease.sandbox_id))
            stopper = asyncio.ensure_future(_interrupt_on_stop(lease, stop))
            try:
                yield lease
            finally:
                stopper.cancel()

    async def _sign(self, platform: Platform, message: IncomingMessage, sign: Sign) -> None:
        try:
            async with asyncio.timeout(SIGN_SECONDS):
                await platform.mark(message, sign)
        except Exception:  # a reaction that cannot be set must not cost the turn
            log.exception("turn.sign_failed", sign=sign)


async def _interrupt_on_stop(lease: Lease, stop: Stop) -> None:
    await stop.wait()
    while True:  # until the turn has ended: what runs may not have begun yet, while its container is being made
        lease.interrupt()
        await asyncio.sleep(INTERRUPT_AGAIN_SECONDS)
