"""What a service must remember of each key over its own death: which container, which saved state."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from sandbox.contract import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleTimes:
    """How long one sandbox may be idle before it is paused, saved and removed, forgotten; None: as the service says."""

    pause_seconds: float | None = None
    save_seconds: float | None = None
    retention_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One key. Times are seconds of the wall clock; `container_id` or `snapshot` is empty where there is none."""

    key: str
    owner: str = ""
    """Who pays for what is kept: a workspace, say."""
    container_id: str = ""
    nonce: str = ""
    epoch: int = 0
    """Of the newest host; raised and written before an attach, so that two hosts are never equal."""
    limits: Json = field(default_factory=dict)
    times: Json = field(default_factory=dict)
    """Of an IdleTimes, those that are not the service's."""
    last_used: float = 0.0
    last_cell: str = ""
    snapshot: str = ""
    snapshot_bytes: int = 0
    saved_at: float = 0.0
    summary: Json = field(default_factory=dict)
    notice: str = ""
    """Why something that was there is no more, to be told once."""


class Records(Protocol):
    """Keeps records. Calls may raise the store's own errors."""

    async def get(self, key: str) -> Record | None:
        """The record of a key."""

    async def put(self, record: Record) -> None:
        """Write a record, new or changed, so that it outlives the process."""

    async def delete(self, key: str) -> None:
        """Forget a key; one that is not there is no error."""

    async def all(self) -> list[Record]:
        """Every record."""


class MemoryRecords:
    """Records that end with the process, for stand-alone use and tests."""

    def __init__(self) -> None:
        self._records: dict[str, Record] = {}

    async def get(self, key: str) -> Record | None:
        """See Records."""
        return self._records.get(key)

    async def put(self, record: Record) -> None:
        """See Records."""
        self._records[record.key] = record

    async def delete(self, key: str) -> None:
        """See Records."""
        self._records.pop(key, None)

    async def all(self) -> list[Record]:
        """See Records."""
        return list(self._records.values())
