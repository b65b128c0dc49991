"""One run in a sandbox, from its request to its Outcome, with the host's own clock over it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from sandbox.attachment import Attachment
from sandbox.channel import Stream, end_of
from sandbox.contract import Cut, Json, Meter, Outcome, RunEvent
from sandbox.errors import SandboxError, SandboxGone
from sandbox.events import Displays, TextStreams, decode, is_start, lost, outcome
from sandbox.inside.frames import Frame, Kind
from sandbox.limits import HOST_GRACE_SECONDS, REATTACH_SECONDS, Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Code to be run, under an id by which it is run at most once."""

    request_id: str
    language: str
    body: bytes
    timeout_seconds: float
    boot: str
    """Of the supervisor that may run it."""

    def opening(self, limits: Limits) -> Json:
        """The supervisor's form of it; the body follows."""
        return {
            "op": "run",
            "id": self.request_id,
            "boot": self.boot,
            "language": self.language,
            "timeout": self.timeout_seconds,
            "grace": limits.interrupt_seconds,
            "start": limits.start_seconds,
            "caps": {
                "head": limits.output_head_bytes,
                "tail": limits.output_tail_bytes,
                "whole": limits.output_whole_bytes,
                "display": limits.display_bytes,
            },
        }


class _NeverBegun(Exception):
    """A stop came before the code had reached the sandbox."""


class Cell:
    """Goes on over a new stream where its own was cut: nothing is run, printed or told twice."""

    def __init__(self, attachment: Attachment, limits: Limits, request_id: str, request: Request | None = None) -> None:
        self._attachment = attachment
        self._limits = limits
        self._request_id = request_id
        self._request = request
        self._stream: Stream | None = None
        self._is_stopped = False
        self._deadline = 0.0
        self._clock: asyncio.Timeout | None = None
        self.has_ended = False

    async def events(self) -> AsyncGenerator[RunEvent, None]:
        """Begin, or go on reading what an earlier host began; ends with the Outcome.

        Raises SandboxGone when there is nothing to begin in, LookupError when the sandbox knows of no such run.
        """
        attachment = self._attachment
        if not attachment.is_alive:
            await attachment.again()
        for event in await self._begin():
            yield event
        if self.has_ended:
            return
        now = asyncio.get_running_loop().time
        try:
            async with contextlib.aclosing(self._decoded()) as events:
                async for event in events:
                    told_at = now()
                    yield event
                    self._deadline += now() - told_at  # what the reader takes is not the code's
        except TimeoutError:
            self.has_ended = True
            await attachment.remove_if_possible()
            yield lost("timeout", 124, "The sandbox stopped answering and was removed.")
        except SandboxGone as error:
            self.has_ended = True
            yield await self._gone(str(error))
        except _NeverBegun:
            self.has_ended = True
            yield Outcome(status="interrupted", exit_code=130)

    async def _begin(self) -> list[RunEvent]:
        if self._request is not None:
            await self._open(self._request)
            return []
        channel, welcome = self._attachment.channel, self._attachment.welcome
        self._stream, channel.adopted = channel.adopted, None  # who asks once more gets the outcome alone
        if welcome is None or self._stream is None or not welcome.still_tells(self._request_id):
            return [Cut(count=0), outcome(await self._past())]
        is_cut = welcome.last_run is not None and welcome.last_run[2] < welcome.oldest
        return [Cut(count=0)] if is_cut else []

    async def _past(self) -> Json:
        request = {"op": "outcome", "id": self._request_id}
        self.has_ended = True  # whatever the answer is, nothing of it runs
        end: Json = {}
        async for frame in self._attachment.channel.open(request).frames():
            end = end_of(frame)
        if end.get("status") == "unknown":
            raise LookupError(self._request_id)
        return end

    async def _open(self, request: Request) -> None:
        channel = self._attachment.channel
        self._stream = channel.run = channel.open(request.opening(self._limits))
        await self._stream.send(request.body)
        self._stream.finish()

    def interrupt(self) -> None:
        """Stop: within 2 s the run ends with status `interrupted`."""
        self._is_stopped = True
        if self._stream is not None:
            self._stream.interrupt()

    async def _decoded(self) -> AsyncGenerator[RunEvent, None]:
        text = TextStreams()
        display = Displays()
        async with contextlib.aclosing(self._frames()) as frames:
            while (frame := await self._next(frames)) is not None:
                if frame.kind is Kind.END:
                    self.has_ended = True  # whatever it says
                if is_start(frame):
                    self._deadline = self._from_now() + self._limits.start_seconds
                for event in decode(frame, text, display):
                    yield event

    def _from_now(self) -> float:
        limits = self._limits
        timeout = self._request.timeout_seconds if self._request is not None else limits.timeout_seconds
        return asyncio.get_running_loop().time() + timeout + limits.interrupt_seconds + HOST_GRACE_SECONDS

    async def _next(self, frames: AsyncGenerator[Frame, None]) -> Frame | None:
        """The next frame, or None after the last. Raises TimeoutError by the host's own clock."""
        self._deadline = self._deadline or self._from_now()
        async with asyncio.timeout_at(self._deadline) as self._clock:
            return await anext(frames, None)

    async def _frames(self) -> AsyncGenerator[Frame, None]:
        """Of the run, over all its attachments. Raises SandboxGone when no other can follow."""
        while self._stream is not None:
            try:
                async for frame in self._stream.frames():
                    yield frame
                return
            except SandboxGone:
                await self._again()

    async def _again(self) -> None:
        """After a cut: go on where the sandbox knows the request, and ask anew where it does not."""
        now = asyncio.get_running_loop().time
        cut_at, clock = now(), self._clock
        if clock is not None:
            clock.reschedule(None)  # what the engine takes to come back is not the code's
        while not await self._goes_on():
            pass
        self._deadline += now() - cut_at
        if clock is not None:
            clock.reschedule(self._deadline)
        if self._is_stopped and self._stream is not None:
            self._stream.interrupt()

    async def _goes_on(self) -> bool:
        """Whether the run has a stream again; if not, that was cut at once."""
        try:
            welcome = await self._attachment.again()
        except SandboxGone as error:
            raise SandboxGone("The sandbox ended while the code ran.") from error
        except SandboxError as error:
            await self._attachment.remove_if_possible()
            raise SandboxGone("The connection to the sandbox was cut, and could not be made again.") from error
        if welcome.still_tells(self._request_id):
            self._stream = self._attachment.channel.adopted
            return True
        if self._request is None:
            raise SandboxGone
        if self._is_stopped:
            raise _NeverBegun
        with contextlib.suppress(SandboxGone):
            await self._open(self._request)
            return True
        return False

    async def _gone(self, message: str) -> Outcome:
        """Of a run whose container ended under it."""
        attachment = self._attachment
        found = lost("lost", 1, message)
        with contextlib.suppress(SandboxError):
            if isinstance(attachment.engine, Meter) and await attachment.engine.ran_out_of_memory(
                attachment.container_id
            ):
                found = lost("oom", 137, "The sandbox ran out of memory.")
        await attachment.remove_if_possible()
        return found

    async def abandon(self) -> None:
        """Stop a run whose reader left, and wait until the sandbox is free again, or remove it."""
        if self._stream is None:
            return
        self.interrupt()
        seconds = 2 * self._limits.interrupt_seconds + HOST_GRACE_SECONDS
        try:
            async with asyncio.timeout(seconds + REATTACH_SECONDS), asyncio.timeout(seconds) as self._clock:
                self._deadline = asyncio.get_running_loop().time() + seconds
                async for _ in self._frames():
                    pass
        except _NeverBegun:
            return
        except (TimeoutError, SandboxGone):
            await self._attachment.remove_if_possible()
