"""What becomes of idle sandboxes: paused, then saved and removed, then forgotten.

An entry is touched only with its lease held, and looked at again once it is.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog
from structlog.contextvars import bound_contextvars

from sandbox.errors import BlobsUnavailable, EngineUnavailable, SandboxBusy, SandboxError, SandboxSilent
from sandbox.lease import Entry
from sandbox.limits import MIB
from sandbox.opening import Openings
from sandbox.records import Record, Records
from sandbox.snapshot import Snapshots, blob_name

log = structlog.get_logger()

SAVE_AGAIN_SECONDS = (30.0, 3600.0)  # after a save that failed: first and longest pause
DAY = 24 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LifeSettings:
    """When an idle sandbox is paused, saved and removed, and its saved state forgotten; and what is kept in all."""

    pause_seconds: float = 90.0
    save_seconds: float = 20 * 60.0
    retention_seconds: float = 14 * DAY
    save_give_up_seconds: float = DAY
    """How long a sandbox that the store does not take is kept; then it goes, and its thread is told."""
    reap_every_seconds: float = 5.0
    forget_every_seconds: float = 600.0
    owner_mib: int = 2 * 1024
    """Saved state of one owner in the store; the newest that fits is kept, and who loses theirs is told."""
    all_mib: int = 50 * 1024
    saves: bool = True
    """False: an idle sandbox is removed with all that is in it."""


class Reaper:
    """Use `run` as a task of its own."""

    def __init__(
        self,
        entries: dict[str, Entry],
        openings: Openings,
        records: Records,
        snapshots: Snapshots,
        settings: LifeSettings,
        clock: Callable[[], float],
        now: Callable[[], float],
    ) -> None:
        self._entries = entries
        self._openings = openings
        self._records = records
        self._snapshots = snapshots
        self._settings = settings
        self._clock = clock
        self._now = now
        self._forget_at = 0.0

    async def run(self) -> None:
        """Reap until cancelled."""
        while True:
            await asyncio.sleep(self._settings.reap_every_seconds)
            await self.reap()

    async def reap(self) -> None:
        """Look at every entry once; one that fails is tried again next time and stops none of the others."""
        for key, entry in list(self._entries.items()):
            if entry.lock.locked():
                continue
            with bound_contextvars(sandbox=entry.sandbox_id):
                try:
                    if self._idle(entry) >= self._times(entry.record).pause_seconds:
                        async with entry.lock:
                            await self._reap_idle(key, entry)
                except Exception:
                    log.exception("sandbox.reap_failed", key=key)
        if self._clock() >= self._forget_at:
            self._forget_at = self._clock() + self._settings.forget_every_seconds
            try:
                await self._forget_old()
            except Exception:
                log.exception("sandbox.forget_failed")

    def _idle(self, entry: Entry) -> float:
        return self._clock() - entry.idle_since

    def _times(self, record: Record) -> LifeSettings:
        return replace(self._settings, **record.times)

    async def _reap_idle(self, key: str, entry: Entry) -> None:
        idle, times = self._idle(entry), self._times(entry.record)
        if idle < times.pause_seconds:
            return  # used while we waited for it
        if self._entries.get(key) is not entry:
            return  # dropped meanwhile: its key may have another by now
        if not entry.is_live and not entry.record.container_id:
            self._entries.pop(key, None)
        elif entry.sandbox is not None and not entry.is_live:
            await self._openings.wake(entry)
        elif idle >= times.save_seconds and self._clock() >= entry.save_again_at:
            await self._save_or_keep(key, entry)
        elif entry.sandbox is not None and not entry.sandbox.is_surely_paused:
            await entry.sandbox.pause()
            log.info("sandbox.paused", key=key, idle_s=round(idle))

    async def _save_or_keep(self, key: str, entry: Entry) -> None:
        try:
            await self.save_and_remove(entry)
        except SandboxBusy:
            entry.idle_since = self._clock()  # a cell that an earlier process began
        except BlobsUnavailable as error:
            await self._save_failed(key, entry, error)
        else:
            self._entries.pop(key, None)

    async def save_and_remove(self, entry: Entry) -> None:
        """Keep what an entry's sandbox has, then remove it. Raises BlobsUnavailable, and the sandbox stays."""
        if self._settings.saves:
            await self._save(entry)
        await self._openings.drop(entry)
        log.info("sandbox.reaped", key=entry.record.key, idle_s=round(self._idle(entry)))

    async def _save(self, entry: Entry) -> None:
        if not await self._openings.wake(entry) or entry.sandbox is None:
            return  # it was gone: there is nothing newer to keep
        name = blob_name(entry.record.key)
        try:
            summary, size = await self._snapshots.save(entry.sandbox, name)
        except (BlobsUnavailable, EngineUnavailable, SandboxBusy, SandboxSilent):
            raise
        except SandboxError as error:  # the sandbox's doing: it goes without
            log.warning("sandbox.save_refused", key=entry.record.key, error=str(error))
            entry.record = replace(entry.record, notice=f"Its variables and files could not be kept: {error}")
            return
        older = entry.record.snapshot
        entry.record = replace(
            entry.record,
            snapshot=name,
            snapshot_bytes=size,
            saved_at=self._now(),
            summary=summary.to_json(),
        )
        await self._records.put(entry.record)
        if older:
            with contextlib.suppress(BlobsUnavailable):  # it costs space, no more
                await self._snapshots.delete(older)

    async def _save_failed(self, key: str, entry: Entry, error: SandboxError) -> None:
        entry.save_failures += 1
        first, longest = SAVE_AGAIN_SECONDS
        entry.save_again_at = self._clock() + min(longest, first * 2 ** (entry.save_failures - 1))
        entry.failing_since = entry.failing_since or self._clock()
        log.warning("sandbox.save_failed", key=key, tries=entry.save_failures, error=str(error))
        if self._clock() - entry.failing_since >= self._settings.save_give_up_seconds:
            entry.record = replace(entry.record, notice=f"Its variables and files could not be kept: {error}")
            await self._openings.drop(entry)
            self._entries.pop(key, None)
        elif entry.sandbox is not None:
            await entry.sandbox.pause()

    async def evict(self) -> bool:
        """Save and remove the longest idle sandbox, to make room; false when none is idle."""
        idle = [
            entry
            for entry in self._entries.values()
            if not entry.lock.locked() and (entry.sandbox is not None or entry.record.container_id)
        ]
        for entry in sorted(idle, key=lambda entry: entry.idle_since):
            if entry.lock.locked() or self._entries.get(entry.record.key) is not entry:
                continue  # used or dropped while we were at another
            async with entry.lock:
                with bound_contextvars(sandbox=entry.sandbox_id):  # not that of the turn which waits for the room
                    if await self._evict(entry):
                        return True
        return False

    async def _evict(self, entry: Entry) -> bool:
        try:
            await self.save_and_remove(entry)
        except SandboxBusy:
            return False  # its cell began before a restart of ours
        except BlobsUnavailable as error:
            # people wait for the memory: it goes, and its thread is told
            entry.record = replace(entry.record, notice=f"Its variables and files could not be kept: {error}")
            await self._openings.drop(entry)
        except SandboxError as error:
            log.warning("sandbox.evict_failed", key=entry.record.key, error=str(error))
            entry.idle_since = self._clock()  # others first, the next time
            return False
        log.info("sandbox.evicted", key=entry.record.key)
        return True

    async def _forget_old(self) -> None:
        """Delete saved state that is too old, or too much for its owner or for all: the newest that fit are kept."""
        all_bytes = 0
        bytes_of: dict[str, int] = {}
        saved = [record for record in await self._records.all() if record.snapshot]
        for record in sorted(saved, key=lambda record: record.saved_at, reverse=True):
            owned, size = bytes_of.get(record.owner, 0), record.snapshot_bytes
            notice = self._too_much(record, owned + size, all_bytes + size)
            if notice and await self._forget(record, notice):
                continue  # what is gone takes no room from others
            bytes_of[record.owner] = owned + size
            all_bytes += size

    def _too_much(self, record: Record, owned: int, all_bytes: int) -> str:
        """Why a state cannot be kept beside the newer ones; empty if it can."""
        settings = self._times(record)
        if self._now() - record.saved_at > settings.retention_seconds:
            return f"It was not used for {settings.retention_seconds / DAY:g} days."
        if record.snapshot_bytes > min(settings.owner_mib, settings.all_mib) * MIB:
            return "It was larger than the space for saved variables and files."
        if owned > settings.owner_mib * MIB or all_bytes > settings.all_mib * MIB:
            return "Newer threads needed the space for saved variables and files."
        return ""

    async def _forget(self, record: Record, notice: str) -> bool:
        """Whether it is gone."""
        key = record.key
        if key in self._entries:
            return False  # in use, or so lately that it is saved again soon
        # who comes for it meanwhile waits, and then reads the record anew
        entry = self._entries[key] = Entry(record)
        try:
            async with entry.lock:
                await self._forget_held(record, notice)
        except Exception:
            log.exception("sandbox.forget_failed", key=key)
            return False
        finally:
            self._entries.pop(key, None)
        return True

    async def _forget_held(self, record: Record, notice: str) -> None:
        now = await self._records.get(record.key)
        if now is None or now.snapshot != record.snapshot or now.saved_at != record.saved_at:
            return  # used and saved again since we looked
        await self._snapshots.delete(record.snapshot)
        await self._records.put(replace(now, snapshot="", snapshot_bytes=0, notice=notice))
        log.info("sandbox.forgotten", key=record.key)
