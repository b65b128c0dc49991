"""One turn, from its start to its last reply. Durable: everything it must not repeat goes through `Steps`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from bot.arrival import arrival_words
from bot.cells import CellLimits, TurnCells
from bot.commands import sandbox_key
from bot.delivery import TurnDelivery, delivering
from bot.errors import BotError, Stopped
from bot.model import ENDED, Ended, Json, Request, Said, Turn, TurnEvent, TurnStatus
from bot.ports import Agent, Artifacts, Emit, Outbox, Platform, Sign, Steps, Stop, Turns
from bot.render import Transcript
from bot.secrets import Redactor
from bot.stops import Stops
from bot.text import file_name
from sandbox import SandboxError
from sandbox.lease import Lease
from sandbox.service import SandboxService

log = structlog.get_logger()

SIGNS: dict[TurnStatus, Sign] = {"done": "done", "stopped": "stopped", "failed": "failed"}
SIGN_SECONDS = 5.0  # for a reaction; a platform that does not take one delays nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnLimits:
    """Bounds on one turn."""

    seconds: float
    upload_bytes: int
    cells: CellLimits


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
    ) -> None:
        self._turns = turns
        self._outbox = outbox
        self._artifacts = artifacts
        self._sandboxes = sandboxes
        self._agent = agent
        self._platforms = platforms
        self._stops = stops
        self._limits = limits
        self._redactor = redactor

    async def run(self, turn_id: str, steps: Steps) -> TurnStatus:
        """Answer the turn's message; how it ended. Cancelling leaves it to be taken up again."""
        turn = await self._turns.turn(turn_id)
        if turn.status in ENDED:
            return turn.status
        platform = self._platforms.get(turn.key.platform)
        if platform is None:
            log.warning("turn.platform_absent", turn=turn_id, platform=turn.key.platform)
            return turn.status
        with structlog.contextvars.bound_contextvars(turn=turn_id), self._stops.running(turn.key) as stop:
            try:
                return await self._run(turn, platform, steps, stop)
            except Exception:  # the store or the outbox failed: the turn must not look alive for ever
                log.exception("turn.broken")
                await self._turns.finish(turn_id, "failed", None)
                await self._sign(platform, turn, "failed")
                return "failed"

    async def _run(self, turn: Turn, platform: Platform, steps: Steps, stop: Stop) -> TurnStatus:
        await self._turns.start(turn.id)
        await self._sign(platform, turn, "working")
        async with delivering(self._outbox, platform, turn.key, turn.id, self._redactor) as delivery:
            status, memory = await self._answer(turn, platform, steps, delivery, stop)
        await self._turns.finish(turn.id, status, memory)
        await self._sign(platform, turn, SIGNS[status])
        log.info("turn.ended", status=status)
        return status

    async def _answer(
        self, turn: Turn, platform: Platform, steps: Steps, delivery: TurnDelivery, stop: Stop
    ) -> tuple[TurnStatus, Json | None]:
        """How the turn ended and what the agent remembers of it."""
        transcript = Transcript(turn.id)

        def emit(event: TurnEvent) -> None:
            delivery.push(transcript.apply(event))

        def fail(text: str, *, can_retry: bool = True) -> None:
            delivery.push(transcript.failure(text, can_retry=can_retry))

        clock = asyncio.get_running_loop().call_later(self._limits.seconds, stop.set, "time")
        try:
            async with self._sandboxes.lease(
                sandbox_key(turn.key), owner=f"{turn.key.platform}/{turn.key.workspace}"
            ) as lease:
                memory = await self._work(turn, platform, lease, steps, emit, stop)
        except Stopped as error:
            if stop.reason == "time":
                fail(f"Stopped: one request may take {self._limits.seconds:g} s.")
                return "failed", error.memory
            emit(Ended(status="stopped"))
            return "stopped", error.memory
        except BotError as error:
            fail(error.for_people, can_retry=error.can_retry)
            return "failed", error.memory
        except SandboxError as error:
            log.warning("turn.sandbox_failed", code=error.code)
            fail(f"The sandbox failed: {error} {error.mend}".strip())
            return "failed", None
        except Exception:
            log.exception("turn.failed")
            fail("Something went wrong on my side. Your message is kept.")
            return "failed", None
        finally:
            clock.cancel()
        emit(Ended(status="done"))
        return "done", memory

    async def _work(
        self, turn: Turn, platform: Platform, lease: Lease, steps: Steps, emit: Emit, stop: Stop
    ) -> Json | None:
        cells = TurnCells(turn.id, lease, steps, self._turns, self._artifacts, emit, stop, self._limits.cells)
        notes: list[str] = []

        async def sandbox_state() -> Json:
            arrival = await lease.arrive()
            return {"news": arrival_words(arrival, had_one=await self._turns.has_sandbox(turn.thread_id))}

        if news := (await steps.step("sandbox", sandbox_state))["news"]:
            emit(Said(text=news))
            notes.append(news)
        names = await self._bring_files(turn, platform, lease, emit)
        if names:
            notes.append(f"Files that came with the message, in the workspace: {', '.join(names)}")
        memory = await self._turns.agent_state(turn.thread_id)
        request = Request(speaker=turn.message.author.name, text=turn.message.text, notes=tuple(notes))
        return await self._agent.answer(request, memory, cells, steps, emit, stop)

    async def _bring_files(self, turn: Turn, platform: Platform, lease: Lease, emit: Emit) -> list[str]:
        names: list[str] = []
        for attachment in turn.message.attachments:
            name = file_name(attachment.name)
            while name in names:
                name = f"_{name}"
            data = await platform.fetch(attachment)
            if len(data) > self._limits.upload_bytes:
                emit(Said(text=f"{name} is too large and was left out.", level="warning"))
                continue
            sandbox = await lease.sandbox()
            await sandbox.put_file(name, data)
            names.append(name)
        return names

    async def _sign(self, platform: Platform, turn: Turn, sign: Sign) -> None:
        try:
            async with asyncio.timeout(SIGN_SECONDS):
                await platform.mark(turn.message, sign)
        except Exception:  # a reaction that cannot be set must not cost the turn
            log.exception("turn.sign_failed", sign=sign)
