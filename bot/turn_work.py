"""A turn once its sandbox is leased: what came before is gathered, files are brought, the agent answers."""

from __future__ import annotations

from dataclasses import dataclass, replace

import structlog

from bot.arrival import arrival_words, waiting_words
from bot.cells import CellLimits, TurnCells
from bot.codec import quoted_from_json, quoted_to_json
from bot.model import Attachment, IncomingMessage, Json, Quoted, Request, Said, Turn
from bot.options import Effective
from bot.pictures import image_type
from bot.ports import Agent, Emit, Platform, Steps, TurnTools
from bot.stops import Stop
from bot.store_ports import Artifacts, Turns, Waiting
from bot.text import cut_middle, file_name, size_words
from sandbox.lease import Lease

log = structlog.get_logger()

CONTEXT_MESSAGES = 50
CONTEXT_CHARS = 16_384
CONTEXT_FILES = 10
IMAGES_MOST = 4
IMAGE_BYTES = 4 << 20  # larger ones are files alone


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkLimits:
    """Bounds on what a turn brings along and what its cells use."""

    upload_bytes: int
    cells: CellLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkParts:
    """What every turn works with."""

    turns: Turns
    artifacts: Artifacts
    agent: Agent
    waiting: Waiting
    limits: WorkLimits


class TurnWork:
    """The work of one turn."""

    def __init__(self, parts: WorkParts, turn: Turn, platform: Platform, lease: Lease, options: Effective) -> None:
        self._parts = parts
        self._turn = turn
        self._platform = platform
        self._lease = lease
        self._options = options
        self._names: list[str] = []
        self._taken_up: set[str] = set()
        self._images: list[bytes] = []

    async def run(self, steps: Steps, emit: Emit, stop: Stop) -> Json | None:
        """Answer; what the agent remembers. Raises what the agent raises."""
        parts, turn, options = self._parts, self._turn, self._options
        limits = replace(
            parts.limits.cells,
            cpu_seconds=min(parts.limits.cells.cpu_seconds, options.cpu_seconds),
            timeout_seconds=options.timeout,
        )
        self._lease.on_waiting = lambda before: emit(Said(text=waiting_words(before)))
        notes = await self._news(steps, emit)
        cells = TurnCells(turn.id, self._lease, steps, parts.turns, parts.artifacts, emit, stop, limits)
        context = [quoted_from_json(item) for item in (await steps.step("context", self._context))["messages"]]
        brought = [attachment for quoted in context for attachment in quoted.attachments][-CONTEXT_FILES:]
        await self._bring([*brought, *turn.message.attachments], emit)
        request = Request(
            speaker=turn.message.author.name,
            text=turn.message.text,
            notes=(*notes, *_came_along(self._names)),
            context=tuple(context),
            images=tuple(self._images),
            model=options.model,
            prompt=options.prompt,
        )
        memory = await parts.turns.agent_state(turn.thread_id)
        steered = 0

        async def steer() -> list[Request]:
            nonlocal steered
            steered += 1
            return await self._steer(steps, steered, emit)

        tools = TurnTools(cells=cells, steps=steps, emit=emit, stop=stop, steer=steer)
        return await parts.agent.answer(request, memory, tools)

    async def _news(self, steps: Steps, emit: Emit) -> list[str]:
        async def sandbox_state() -> Json:
            arrival = await self._lease.arrive()
            had_one = await self._parts.turns.has_sandbox(self._turn.thread_id)
            return {"news": arrival_words(arrival, had_one=had_one)}

        news = (await steps.step("sandbox", sandbox_state))["news"]
        if news:
            emit(Said(text=news))
        return [news] if news else []

    async def _context(self) -> Json:
        """What was said before: by the platform's memory when the thread is new to us, else by ours."""
        turn = self._turn
        waiting = self._parts.waiting
        said = [_quoted(message) for message in await waiting.context(turn, CONTEXT_MESSAGES)]
        if turn.message.in_thread and not await self._parts.turns.has_answered(turn.thread_id):
            try:
                said = await self._platform.earlier(turn.message, CONTEXT_MESSAGES)
            except Exception:  # what was said before is worth a try, not the turn
                log.exception("turn.context_failed")
        said += [_quoted(message) for message in await waiting.left_behind(turn)]
        return {"messages": [quoted_to_json(quoted) for quoted in newest(said, CONTEXT_CHARS)]}

    async def _steer(self, steps: Steps, number: int, emit: Emit) -> list[Request]:
        async def join() -> Json:
            return {"ids": [turn.id for turn in await self._parts.waiting.join(self._turn.id)]}

        new = set((await steps.step(f"steer-{number}", join))["ids"]) - self._taken_up
        self._taken_up |= new
        requests = []
        for turn in await self._parts.waiting.joined(self._turn.id) if new else []:
            if turn.id in new:
                message = turn.message
                await self._platform.mark(message, "working")
                names, images = len(self._names), len(self._images)
                await self._bring(message.attachments, emit)
                requests.append(
                    Request(
                        speaker=message.author.name,
                        text=message.text,
                        notes=_came_along(self._names[names:]),
                        images=tuple(self._images[images:]),
                    )
                )
        return requests

    async def _bring(self, attachments: tuple[Attachment, ...] | list[Attachment], emit: Emit) -> None:
        most = self._parts.limits.upload_bytes
        for attachment in attachments:
            name = file_name(attachment.name)
            while name in self._names:
                name = f"_{name}"
            try:
                data = await self._platform.fetch(attachment) if attachment.size <= most else b""
            except (LookupError, OSError) as error:
                log.warning("turn.file_not_fetched", error=str(error))
                emit(Said(text=f"{name} could not be fetched and was left out.", level="warning"))
                continue
            if attachment.size > most or len(data) > most:
                emit(Said(text=f"{name} is larger than {size_words(most)} and was left out.", level="warning"))
                continue
            await (await self._lease.sandbox()).put_file(name, data)
            self._names.append(name)
            if len(data) <= IMAGE_BYTES and len(self._images) < IMAGES_MOST and image_type(data) is not None:
                self._images.append(data)


def _came_along(names: list[str]) -> tuple[str, ...]:
    return (f"Files that came along, in the workspace: {', '.join(names)}",) if names else ()


def _quoted(message: IncomingMessage) -> Quoted:
    return Quoted(speaker=message.author.name, text=message.text, attachments=message.attachments)


def newest(said: list[Quoted], chars: int) -> list[Quoted]:
    """The newest messages that fit, oldest first; the one that does not fit any more is cut in its middle."""
    kept: list[Quoted] = []
    left = chars
    for quoted in reversed(said):
        if left <= 0:
            break
        kept.append(replace(quoted, text=cut_middle(quoted.text, left)[0]))
        left -= len(quoted.text)
    return kept[::-1]
