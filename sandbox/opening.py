"""How a key's sandbox becomes live and stops being so: attached again, warm, new, filled from the store, removed."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from dataclasses import asdict, replace

import structlog

from sandbox.contract import Engine, Meter
from sandbox.egress import Network
from sandbox.errors import BlobsUnavailable, EngineUnavailable, SandboxError, SandboxGone, SandboxSilent
from sandbox.lease import Arrival, Entry
from sandbox.limits import MIB, Limits
from sandbox.pool import WarmPool
from sandbox.records import Record, Records
from sandbox.sandbox import Sandbox
from sandbox.snapshot import Snapshots, Summary
from sandbox.tunnels import EgressGate

log = structlog.get_logger()

NEW_MEMORY = 60 * MIB  # what a sandbox uses before it was measured
GONE = "The sandbox ended while nobody used it."
"""The notice where a container is gone that should be there."""


class Openings:
    """The live sandboxes of all keys. Whoever calls holds the entry's lease."""

    def __init__(
        self,
        engine: Engine,
        pool: WarmPool,
        records: Records,
        snapshots: Snapshots,
        gate: EgressGate,
        now: Callable[[], float],
    ) -> None:
        self._engine = engine
        self._pool = pool
        self._records = records
        self._snapshots = snapshots
        self._gate = gate
        self._now = now
        self._live: dict[str, Sandbox] = {}
        self._starting = 0
        self._adopted: dict[str, int] = {}  # of an earlier process, not attached to yet, with the memory of each
        self._leaving = False
        self.removed: Callable[[], None] = lambda: None
        """Told whenever a container is gone."""

    @property
    def live(self) -> int:
        """How many containers there are or are being made for keys."""
        return len(self._live) + self._starting + len(self._adopted)

    async def adopt(self, container_id: str) -> None:
        """Count a container that an earlier process made for a key, with what the engine says that it uses."""
        self._adopted[container_id] = NEW_MEMORY
        if isinstance(self._engine, Meter):
            with contextlib.suppress(SandboxError):
                self._adopted[container_id] = (await self._engine.usage(container_id))[0] or NEW_MEMORY

    def memory_bytes(self) -> int:
        """What the live sandboxes use, and those that wait ready."""
        sandboxes = (*self._live.values(), *self._pool.sandboxes)
        return sum(sandbox.memory_bytes or NEW_MEMORY for sandbox in sandboxes) + sum(self._adopted.values())

    def leave_running(self) -> None:
        """From now on what runs goes on although its reader leaves."""
        self._leaving = True
        for sandbox in self._live.values():
            sandbox.leave_running = True

    async def open(self, entry: Entry, limits: Limits, network: Network) -> Arrival:
        """Make an entry's sandbox live: as it is, unpaused, attached again, restored, or new. Raises SandboxError."""
        arrival = await self._open(entry, limits)
        if entry.sandbox is not None and entry.network != network:
            await entry.sandbox.connect(self._gate, network, entry.record.key)
            entry.network = network
        return arrival

    async def _open(self, entry: Entry, limits: Limits) -> Arrival:
        if await self.wake(entry):
            return Arrival(kind="live")
        sandbox = await self._make(limits)
        self._hold(entry, sandbox)
        try:
            arrival = await self._fill(entry, sandbox)
        except BaseException:
            await asyncio.shield(self._remove_live(entry))
            raise
        await self._records.put(entry.record)
        log.info("sandbox.opened", key=entry.record.key, found=arrival.kind)
        return arrival

    async def wake(self, entry: Entry) -> bool:
        """Make what an entry has of a container live, and make none; false when it has none that lives.

        Raises EngineUnavailable, SandboxSilent; the container stays then.
        """
        if entry.sandbox is not None:
            try:
                await entry.sandbox.revive()
            except SandboxGone:
                await self._lost(entry, entry.sandbox)
                return False
            return True
        return bool(entry.record.container_id) and await self._attach(entry)

    async def _attach(self, entry: Entry) -> bool:
        record = entry.record = replace(entry.record, epoch=entry.record.epoch + 1)
        await self._records.put(record)  # before the attach: a host that died in between is never equal to us
        limits = Limits(**record.limits)
        try:
            sandbox = await Sandbox.attach(
                self._engine, record.container_id, limits, epoch=record.epoch, nonce=record.nonce
            )
        except (EngineUnavailable, SandboxSilent):
            raise  # a busy machine or an engine that starts again: it may well live
        except SandboxError as error:
            log.warning("sandbox.attach_failed", key=record.key, error=str(error))
            await self._lose(entry, GONE)
            return False
        log.info("sandbox.attached", key=record.key, epoch=record.epoch)
        entry.sandbox = self._live[sandbox.container_id] = sandbox
        entry.network = None
        adopted = self._adopted.pop(sandbox.container_id, NEW_MEMORY)
        sandbox.memory_bytes = sandbox.memory_bytes or adopted
        return True

    async def _make(self, limits: Limits) -> Sandbox:
        self._starting += 1
        try:
            return self._pool.take(limits) or await Sandbox.start(self._engine, os.urandom(6).hex(), limits)
        finally:
            self._starting -= 1

    def _hold(self, entry: Entry, sandbox: Sandbox) -> None:
        sandbox.leave_running = self._leaving
        entry.network = Network()
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
        notice = record.notice
        if not record.snapshot:
            entry.record = replace(record, notice="")
            return Arrival(kind="new", notice=notice)
        try:
            summary = await self._snapshots.restore(sandbox, record.snapshot, Summary.from_json(record.summary))
        except BlobsUnavailable:
            raise  # it may come back: a new sandbox would be saved over what is there
        except SandboxError as error:
            log.warning("sandbox.restore_failed", key=record.key, error=str(error))
            entry.record = replace(record, notice="")
            return Arrival(kind="new", notice=f"The saved variables and files could not be brought back: {error}")
        entry.record = replace(record, notice="")
        log.info("sandbox.restored", key=record.key, files=summary.files, variables=len(summary.variables))
        return Arrival(kind="restored", summary=summary, saved_at=record.saved_at, notice=notice)

    async def _lost(self, entry: Entry, sandbox: Sandbox) -> None:
        if sandbox.is_anothers:  # whose record of it is the newer
            self._live.pop(sandbox.container_id, None)
            entry.sandbox, entry.is_read = None, False
            raise SandboxError("Another process uses this sandbox now.")
        await self._lose(entry, GONE)

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
            self._adopted.pop(entry.record.container_id, None)
        entry.record = replace(entry.record, container_id="")
        self.removed()

    async def forget(self, entry: Entry) -> None:
        """Remove an entry's container and its saved state. Raises SandboxError."""
        await self._remove_live(entry)
        if entry.record.snapshot:
            await self._snapshots.delete(entry.record.snapshot)
        await self._records.delete(entry.record.key)
        entry.record = Record(key=entry.record.key, owner=entry.record.owner)
