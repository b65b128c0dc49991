"""Sandboxes by key: one a thread, from the warm pool to the store for saved state and back.

Who holds a key's lease owns its sandbox; the reaper takes the same lease before it touches one.
"""

from __future__ import annotations

import asyncio
import contextlib
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
from sandbox.egress import EgressSettings, Network
from sandbox.lease import Entry, Lease
from sandbox.limits import Limits
from sandbox.opening import GONE, NEW_MEMORY, Openings
from sandbox.pool import PoolSettings, WarmPool
from sandbox.reaper import LifeSettings, Reaper
from sandbox.records import IdleTimes, MemoryRecords, Record, Records
from sandbox.snapshot import Snapshots
from sandbox.tunnels import EgressGate

log = structlog.get_logger()

OnExit = Literal["remove", "save", "leave"]

REMOVE_SECONDS = 90.0  # for all containers together, when the service stops
CELL_NAME_CHARS = 80  # of the last cell's first line, for a list


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
        network: Network | None = None,
        egress: EgressSettings | None = None,
    ) -> None:
        self._engine = engine
        self._limits = limits or Limits()
        self._settings = settings or ServiceSettings()
        self._records = records or MemoryRecords()
        self._network = network or Network()
        snapshots = snapshots or Snapshots(Blobs.at("memory://"))
        self._clock = clock
        self._now = now
        self._entries: dict[str, Entry] = {}
        self._stack = contextlib.AsyncExitStack()
        self.pool = WarmPool(engine, self._limits, self._settings.pool, clock)
        self._gate = EgressGate(egress or EgressSettings())
        self.openings = Openings(engine, self.pool, self._records, snapshots, self._gate, now)
        self.reaper = Reaper(self._entries, self.openings, self._records, snapshots, self._settings.life, clock, now)
        self.admission = Admission(
            self._settings.admission,
            in_use=self.openings.memory_bytes,
            live=lambda: self.live,
            make_room=self._make_room,
        )
        self.openings.removed = self.admission.changed
        self.pool.limit_to(self._room_ahead)

    async def _make_room(self, new: bool) -> bool:
        """For who waits: what nobody's state is in goes first, unless it is what a new one would take."""
        if new and self.live >= self._settings.admission.sandboxes:
            return await self.reaper.evict()
        spare = self.pool.ready - (1 if new else 0)
        return (spare > 0 and await self.pool.give_up_one()) or await self.reaper.evict()

    def _room_ahead(self) -> int:
        places = self._settings.admission.sandboxes - self.live - self.pool.ready
        return min(places, self.admission.spare_sandboxes(NEW_MEMORY))

    async def __aenter__(self) -> SandboxService:
        """Take over what an earlier process of this instance left in leases, remove the rest, and start to reap."""
        await self._adopt()
        await self._stack.enter_async_context(self._gate)
        group = await self._stack.enter_async_context(asyncio.TaskGroup())
        tasks = [group.create_task(self.reaper.run(), name="sandbox-reaper")]
        if self._settings.pool.most > 0:
            tasks.append(group.create_task(self.pool.run(), name="sandbox-pool"))
        for task in tasks:
            self._stack.callback(task.cancel)
        return self

    async def _adopt(self) -> None:
        there = {container.container_id: container for container in await self._engine.containers()}
        adopted: list[str] = []
        for record in await self._records.all():
            if not record.container_id:
                continue
            container = there.get(record.container_id)
            if container is not None and container.state in ("running", "paused"):
                del there[record.container_id]
                adopted.append(record.container_id)
                if self._settings.on_exit == "leave":  # else it is another's, who will see to it
                    # as if used just now: what ran when its host died may still run
                    self._entries[record.key] = Entry(record, idle_since=self._clock())
            else:
                await self._records.put(replace(record, container_id="", notice=record.notice or GONE))
        await asyncio.gather(*(self.openings.adopt(container_id) for container_id in adopted))
        for container in there.values():
            log.info("sandbox.orphan_removed", sandbox=container.sandbox_id)
            await self._engine.remove(container.container_id)

    def leave_running(self) -> None:
        """Say that this process ends and another will follow: what runs is to go on without us."""
        if self._settings.on_exit == "leave":
            self.openings.leave_running()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove, save or leave every container; one that fails stops none of the others."""
        await self._stack.aclose()
        try:
            async with asyncio.timeout(REMOVE_SECONDS):
                for result in await asyncio.gather(
                    *(self._end(entry) for entry in self._entries.values()), return_exceptions=True
                ):
                    if isinstance(result, BaseException):
                        log.warning("sandbox.end_failed", error=str(result))
        except TimeoutError:
            log.warning("sandbox.end_unfinished", seconds=REMOVE_SECONDS)
        self._entries.clear()

    async def _end(self, entry: Entry) -> None:
        if entry.sandbox is None:
            return  # left by another process and not used by this one: the next may
        if self._settings.on_exit == "leave":
            entry.sandbox.detach()
        elif self._settings.on_exit == "save":
            await self.reaper.save_and_remove(entry)
        else:
            await self.openings.drop(entry)

    @contextlib.asynccontextmanager
    async def lease(
        self,
        key: str,
        limits: Limits | None = None,
        *,
        owner: str = "",
        network: Network | None = None,
        times: IdleTimes | None = None,
    ) -> AsyncIterator[Lease]:
        """Hold a key's sandbox; a second holder of the same key waits for the first.

        What is not given is the service's; `times` hold from now on, until a later holder gives others.
        """
        while True:
            entry = self._entries.setdefault(key, Entry(Record(key=key, owner=owner), is_read=False))
            try:
                async with entry.lock:
                    if self._entries.get(key) is not entry:
                        continue  # the reaper dropped it while we waited: another may hold its successor
                    if not entry.is_read:
                        entry.record, entry.is_read = await self._records.get(key) or entry.record, True
                    if times is not None:
                        given = {name: value for name, value in asdict(times).items() if value is not None}
                        entry.record = replace(entry.record, times=given)
                    try:
                        yield Lease(self, entry, limits or self._limits, network or self._network)
                    finally:
                        entry.idle_since = self._clock()
                        if entry.is_read and entry.record.container_id:  # else another process has written a newer one
                            await asyncio.shield(self._records.put(entry.record))
                    return
            finally:
                self.admission.changed()  # who waits for a place may have this one's

    @property
    def live(self) -> int:
        """How many containers there are or are being made for keys."""
        return self.openings.live

    @property
    def entries(self) -> dict[str, Entry]:
        """The keys that have or had a sandbox lately."""
        return self._entries

    async def keys(self) -> set[str]:
        """Every key that has a sandbox or saved state."""
        return {record.key for record in await self._records.all()} | set(self._entries)

    def used(self, record: Record, code: str) -> Record:
        """The record with the moment and the cell of a use."""
        line = next((line.strip() for line in code.splitlines() if line.strip()), "")
        return replace(record, last_used=self._now(), last_cell=line[:CELL_NAME_CHARS])

    async def take_notice(self, entry: Entry) -> str:
        """What is to be told of an entry once, and is told now."""
        notice, entry.record = entry.record.notice, replace(entry.record, notice="")
        if notice:
            await self._records.put(entry.record)
        return notice
