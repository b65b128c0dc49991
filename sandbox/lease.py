"""The right to use one key's sandbox, held for a turn."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from sandbox.admission import Wait
from sandbox.contract import Outcome, RunEvent, Waiting
from sandbox.egress import Network
from sandbox.errors import WaitGivenUp
from sandbox.languages import canonical_language
from sandbox.limits import Limits
from sandbox.records import Record
from sandbox.sandbox import Sandbox
from sandbox.snapshot import Summary

if TYPE_CHECKING:
    from sandbox.service import SandboxService

NEVER_RAN = Outcome(status="interrupted", exit_code=130)
SHORT_ID = 12  # characters of a container's id, as docker shows it


@dataclass
class Entry:
    """One key's sandbox, as the service knows it."""

    record: Record
    # one holder at a time: a turn, a reset or the reaper, so that nothing is removed while it is used
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    is_read: bool = True
    """Whether the record is the one that is kept; it is read under the lock, since the reaper may be forgetting it."""
    sandbox: Sandbox | None = None
    network: Network | None = None
    """What the sandbox was told that it may reach; None: nobody knows, an earlier process told it."""
    idle_since: float = 0.0
    save_failures: int = 0
    save_again_at: float = 0.0
    failing_since: float = 0.0

    @property
    def is_live(self) -> bool:
        """Whether a container is at hand."""
        return self.sandbox is not None and self.sandbox.is_alive

    @property
    def sandbox_id(self) -> str:
        """The container's, short, as logs and lists name it; empty where there is none."""
        return self.record.container_id[:SHORT_ID]

    @property
    def has_container(self) -> bool:
        """Whether one is at hand or can be attached to, so that none has to be made."""
        return self.is_live if self.sandbox is not None else bool(self.record.container_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """How a lease found its sandbox: as it was left, brought back from the store, or with nothing of before."""

    kind: Literal["live", "restored", "new"]
    summary: Summary | None = None
    saved_at: float = 0.0
    notice: str = ""
    """Why something of before is gone."""


class Lease:
    """Made by `SandboxService.lease`. The container is made by the first use, or by `arrive`."""

    def __init__(self, service: SandboxService, entry: Entry, limits: Limits, network: Network) -> None:
        self._service = service
        self._entry = entry
        self._limits = limits
        self._network = network
        self.has_state = entry.is_live or bool(entry.record.container_id or entry.record.snapshot)
        """Whether variables and files of earlier turns are there, or in the store."""
        self.on_waiting: Callable[[int], None] = lambda before: None
        """Told how many are before us, whenever that changes, while a sandbox waits for its place without a cell."""
        self._wait = Wait()
        self.arrival: Arrival | None = None
        """How the sandbox was found when it was last made live in this lease."""

    @property
    def sandbox_id(self) -> str:
        """Of the sandbox that there is now, short, for logs; empty where there is none."""
        return self._entry.sandbox_id

    async def arrive(self) -> Arrival:
        """Bring back what there is of earlier turns, now. Makes no container when there is nothing.

        Raises SandboxError; WaitGivenUp where `interrupt` was called while it waited for its place.
        """
        if not self.has_state:
            return Arrival(kind="new", notice=await self._service.take_notice(self._entry))
        return await self._open_in_turn()

    async def _open_in_turn(self) -> Arrival:
        """Open; a container that is to be made waits for its place like any other."""
        await self._clear()
        if self._entry.has_container:
            return await self._open()
        self._wait = Wait()
        async for before in self._service.admission.enter(new=True, wait=self._wait):
            self.on_waiting(before)
        try:
            return await self._open()
        finally:
            self._service.admission.leave()

    async def _clear(self) -> None:
        """A sandbox of ours that has died takes no place from its own successor."""
        if self._entry.sandbox is not None and not self._entry.is_live:
            await self._service.openings.wake(self._entry)

    async def _open(self) -> Arrival:
        arrival = await self._service.openings.open(self._entry, self._limits, self._network)
        if arrival.kind != "live" or self.arrival is None:
            self.arrival = arrival
        return arrival

    async def run(
        self, code: str, language: str = "python", *, timeout_seconds: float | None = None, request_id: str = ""
    ) -> AsyncGenerator[RunEvent, None]:
        """See contract.Runner; yields Waiting while there is no room. Raises TooManyWait too."""
        canonical_language(language)  # refused before a container is made for it
        wait = self._wait = Wait()
        await self._clear()
        try:
            async for before in self._service.admission.enter(new=not self._entry.has_container, wait=wait):
                yield Waiting(before=before)
        except WaitGivenUp:
            yield NEVER_RAN
            return
        try:
            await self._open()
            if wait.is_given_up:
                yield NEVER_RAN
                return
            sandbox = self._entry.sandbox
            assert sandbox is not None  # noqa: S101 - open makes one or raises
            self._entry.record = self._service.used(self._entry.record, code)
            events = sandbox.run(code, language, timeout_seconds=timeout_seconds, request_id=request_id)
            async with contextlib.aclosing(events):
                async for event in events:
                    yield event
        finally:
            self._service.admission.leave()

    async def resume(self, request_id: str) -> AsyncGenerator[RunEvent, None]:
        """Go on reading a run that an earlier process started. Raises LookupError when nobody can know its outcome."""
        if not self.has_state:
            self.arrival = Arrival(kind="new", notice=await self._service.take_notice(self._entry))
            raise LookupError(request_id)
        arrival = await self._open_in_turn()
        if arrival.kind != "live" or self._entry.sandbox is None:
            raise LookupError(request_id)
        async with contextlib.aclosing(self._entry.sandbox.resume(request_id)) as events:
            async for event in events:
                yield event

    async def sandbox(self) -> Sandbox:
        """The live sandbox, made now if there is none. Raises SandboxError."""
        await self._open_in_turn()
        assert self._entry.sandbox is not None  # noqa: S101 - open makes one or raises
        return self._entry.sandbox

    def interrupt(self) -> None:
        """Stop what runs now, or waits to run, if anything does. A run that comes later is another."""
        self._wait.give_up()
        if self._entry.sandbox is not None:
            self._entry.sandbox.interrupt()

    async def put_away(self) -> None:
        """Save what there is and remove the sandbox now, as idleness would. Raises SandboxError, and it stays."""
        await self._service.reaper.save_and_remove(self._entry)

    async def reset(self) -> None:
        """Remove the sandbox with its variables and files, saved ones too; the next use makes another."""
        await self._service.openings.forget(self._entry)
        self.has_state = False
