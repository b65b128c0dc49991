"""Sandboxes by key: one a thread, from the warm pool to the store for saved state and back.

Who holds a key's lease owns its sandbox; the reaper takes the same lease before it touches one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Literal

import structlog

from sandbox.admission import Admission, AdmissionSettings
from sandbox.blobs import Blobs
from sandbox.contract import Engine
from sandbox.errors import SandboxError
from sandbox.lease import Arrival, Entry, Lease
from sandbox.limits import MIB, Limits
from sandbox.pool import PoolSettings, WarmPool
from sandbox.reaper import LifeSettings, Reaper
from sandbox.records import MemoryRecords, Record, Records
from sandbox.sandbox import Sandbox
from sandbox.snapshot import Snapshots, Summary

log = structlog.get_logger()

OnExit = Literal["remove", "save", "leave"]

REMOVE_SECONDS = 30.0  # for all containers together, when the service stops
CELL_NAME_CHARS = 80  # of the last cell's first line, for a list
NEW_MEMORY = 60 * MIB  # what a sandbox uses before it was measured


def wall_time() -> float:
    """Seconds of the wall clock."""
    return datetime.now(UTC).timestamp()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """Bounds of the whole service. `on_exit`: containers are removed, saved first, or left for the next start."""

    admission: AdmissionSettings = field(default_factory=AdmissionSettings)
    pool: PoolSettings = field(default_factory=lambda: PoolSettings(least=0, most=0))
    life: LifeSettings = field(default_factory=LifeSettings)
    on_exit: OnExit = "remove"


class SandboxService:
    """Use as an async context manager."""

    def __init__(
        self,
        engine: Engine,
        *,
        limits: Limits | None = None,
        settings: ServiceSettings | None = None,
        records: Records | None = None,
        snapshots: Snapshots | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = wall_time,
    ) -> None:
        self._engine = engine
        self._limits = limits or Limits()
        self._settings = settings or ServiceSettings()
        self._records = records or MemoryRecords()
        self._snapshots = snapshots or Snapshots(Blobs.at("memory://"))
        self._clock = clock
        self._now = now
        self._entries: dict[str, Entry] = {}
        self._live: dict[str, Sandbox] = {}
        self._starting = 0
        self._leaving = False
        self._stack = contextlib.AsyncExitStack()
        self.pool = WarmPool(engine, self._limits, self._settings.pool, clock)
        self.reaper = Reaper(self, self._records, self._snapshots, self._settings.life, clock, now)
        self.admission = Admission(
            self._settings.admission,
            in_use=self.memory_bytes,
            live=lambda: self.live,
            make_room=self.reaper.evict,
        )
        self.pool.limit_to(lambda: self.live + self.pool.ready < self._settings.admission.sandboxes)

    async def __aenter__(self) -> SandboxService:
        """Take over what an earlier process of this instance left in leases, remove the rest, and start to reap."""
        await self._adopt()
        group = await self._stack.enter_async_context(asyncio.TaskGroup())
        tasks = [group.create_task(self.reaper.run(), name="sandbox-reaper")]
        if self._settings.pool.most > 0:
            tasks.append(group.create_task(self.pool.run(), name="sandbox-pool"))
        for task in tasks:
            self._stack.callback(task.cancel)
        return self

    async def _adopt(self) -> None:
        there = {container.container_id: container for container in await self._engine.containers()}
        for record in await self._records.all():
            if not record.container_id:
                continue
            container = there.get(record.container_id)
            if container is not None and container.state in ("running", "paused"):
                del there[record.container_id]
                idle_since = self._clock() - max(0.0, self._now() - record.last_used)
                self._entries[record.key] = Entry(record, idle_since=idle_since)
            else:
                await self._records.put(replace(record, container_id="", notice=record.notice or GONE))
        for container in there.values():
            log.info("sandbox.orphan_removed", sandbox=container.sandbox_id)
            await self._engine.remove(container.container_id)

    def leave_running(self) -> None:
        """Say that this process ends and another will follow: what runs is to go on without us."""
        if self._settings.on_exit == "leave":
            self._leaving = True
            for sandbox in self._live.values():
                sandbox.leave_running = True

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove, save or leave every container; one that fails stops none of the others."""
        await self._stack.aclose()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REMOVE_SECONDS):
                for result in await asyncio.gather(
                    *(self._end(entry) for entry in self._entries.values()), return_exceptions=True
                ):
                    if isinstance(result, BaseException):
                        log.warning("sandbox.end_failed", error=str(result))
        self._live.clear()
        self._entries.clear()

    async def _end(self, entry: Entry) -> None:
        if entry.sandbox is None:
            return  # left by another process and not used by this one: the next may
        if self._settings.on_exit == "leave":
            entry.sandbox.detach()
        elif self._settings.on_exit == "save" and entry.is_live:
            await self.reaper.save_and_remove(entry)
        else:
            await self.drop(entry)

    @contextlib.asynccontextmanager
    async def lease(self, key: str, limits: Limits | None = None, *, owner: str = "") -> AsyncIterator[Lease]:
        """Hold a key's sandbox; a second holder of the same key waits for the first."""
        while True:
            entry = self._entries.get(key)
            if entry is None:
                record = await self._records.get(key)
                entry = self._entries.setdefault(key, Entry(record or Record(key=key, owner=owner)))
            async with entry.lock:
                if self._entries.get(key) is not entry:
                    continue  # the reaper dropped it while we waited: another may hold its successor
                try:
                    yield Lease(self, entry, limits or self._limits)
                finally:
                    entry.idle_since = self._clock()
                    if entry.record.container_id:
                        await asyncio.shield(self._records.put(entry.record))
                return

    @property
    def live(self) -> int:
        """How many containers there are or are being made for keys."""
        return len(self._live) + self._starting

    @property
    def entries(self) -> dict[str, Entry]:
        """The keys that have or had a sandbox lately."""
        return self._entries

    def memory_bytes(self) -> int:
        """What the live sandboxes were last measured to use."""
        return sum(sandbox.memory_bytes or NEW_MEMORY for sandbox in self._live.values())

    def used(self, record: Record, code: str) -> Record:
        """The record with the moment and the cell of a use."""
        line = next((line.strip() for line in code.splitlines() if line.strip()), "")
        return replace(record, last_used=self._now(), last_cell=line[:CELL_NAME_CHARS])

    async def open(self, entry: Entry, limits: Limits) -> Arrival:
        """Make an entry's sandbox live: as it is, unpaused, attached again, restored, or new. Raises SandboxError."""
        if entry.sandbox is not None and entry.sandbox.is_alive:
            await entry.sandbox.unpause()
            return Arrival(kind="live")
        if entry.sandbox is not None:
            await self._lose(entry, GONE)
        elif entry.record.container_id and await self._attach(entry):
            return Arrival(kind="live")
        sandbox = await self._make(limits)
        self._hold(entry, sandbox)
        try:
            arrival = await self._fill(entry, sandbox)
        except BaseException:
            await asyncio.shield(self._remove_live(entry))
            raise
        await self._records.put(entry.record)
        return arrival

    async def _attach(self, entry: Entry) -> bool:
        record = entry.record = replace(entry.record, epoch=entry.record.epoch + 1)
        await self._records.put(record)  # before the attach: a host that died in between is never equal to us
        limits = Limits(**record.limits)
        try:
            sandbox = await Sandbox.attach(
                self._engine, record.container_id, limits, epoch=record.epoch, nonce=record.nonce
            )
        except SandboxError as error:
            log.warning("sandbox.attach_failed", key=record.key, error=str(error))
            await self._lose(entry, GONE)
            return False
        log.info("sandbox.attached", key=record.key, epoch=record.epoch)
        entry.sandbox = self._live[sandbox.container_id] = sandbox
        return True

    async def _make(self, limits: Limits) -> Sandbox:
        self._starting += 1
        try:
            return self.pool.take(limits) or await Sandbox.start(self._engine, os.urandom(6).hex(), limits)
        finally:
            self._starting -= 1

    def _hold(self, entry: Entry, sandbox: Sandbox) -> None:
        sandbox.leave_running = self._leaving
        entry.sandbox = self._live[sandbox.container_id] = sandbox
        entry.record = replace(
            entry.record,
            container_id=sandbox.container_id,
            nonce=sandbox.nonce,
            epoch=sandbox.epoch,
            limits=asdict(sandbox.limits),
            last_used=self._now(),
        )

    async def _fill(self, entry: Entry, sandbox: Sandbox) -> Arrival:
        record = entry.record
        notice, entry.record = record.notice, replace(record, notice="")
        if not record.snapshot:
            return Arrival(kind="new", notice=notice)
        try:
            summary = await self._snapshots.restore(sandbox, record.snapshot, Summary.from_json(record.summary))
        except SandboxError as error:
            log.warning("sandbox.restore_failed", key=record.key, error=str(error))
            return Arrival(kind="new", notice=f"The saved variables and files could not be brought back: {error}")
        log.info("sandbox.restored", key=record.key, files=summary.files, variables=len(summary.variables))
        return Arrival(kind="restored", summary=summary, saved_at=record.saved_at, notice=notice)

    async def take_notice(self, entry: Entry) -> str:
        """What is to be told of an entry once, and is told now."""
        notice, entry.record = entry.record.notice, replace(entry.record, notice="")
        if notice:
            await self._records.put(entry.record)
        return notice

    async def _lose(self, entry: Entry, notice: str) -> None:
        """An entry's container is of no use any more; what was saved of it stays."""
        await self._remove_live(entry)
        entry.record = replace(entry.record, notice=entry.record.notice or notice)
        await self._records.put(entry.record)

    async def drop(self, entry: Entry) -> None:
        """Remove an entry's container; its saved state stays. Raises SandboxError, and keeps it for another try."""
        await self._remove_live(entry)
        if entry.record.snapshot or entry.record.notice:
            await self._records.put(entry.record)
        else:
            await self._records.delete(entry.record.key)

    async def _remove_live(self, entry: Entry) -> None:
        if entry.sandbox is not None:
            await entry.sandbox.remove()
            self._live.pop(entry.sandbox.container_id, None)
            entry.sandbox = None
        elif entry.record.container_id:
            await self._engine.remove(entry.record.container_id)
        entry.record = replace(entry.record, container_id="")
        self.admission.changed()

    async def forget(self, entry: Entry) -> None:
        """Remove an entry's container and its saved state. Raises SandboxError."""
        await self._remove_live(entry)
        if entry.record.snapshot:
            await self._snapshots.delete(entry.record.snapshot)
        await self._records.delete(entry.record.key)
        entry.record = Record(key=entry.record.key, owner=entry.record.owner)


GONE = "The sandbox ended while nobody used it."
"""The notice where a container is gone that should be there."""
