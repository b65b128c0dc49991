"""Saved state is bounded for each owner and for all: the newest that fit are kept, and who loses theirs is told."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from sandbox.errors import BlobsUnavailable
from sandbox.limits import MIB
from sandbox.reaper import DAY, LifeSettings
from sandbox.records import MemoryRecords, Record
from sandbox.service import SandboxService, ServiceSettings
from sandbox.snapshot import Snapshots
from tests.doubles.clock import Clock
from tests.doubles.scripted_box import DictBlobs, ScriptedEngine

NOTICE = "Newer threads needed the space for saved variables and files."


@pytest.fixture(autouse=True)
def unprinted() -> Iterator[None]:
    with capture_logs():
        yield


class StuckBlobs(DictBlobs):
    """A store that does not delete what is named here."""

    stuck = ""

    async def delete(self, name: str) -> None:
        if name == self.stuck:
            raise BlobsUnavailable
        await super().delete(name)


class Store:
    """Saved states by key; each is a second newer than the one before."""

    def __init__(self, *, owner_mib: int = 100, all_mib: int = 100) -> None:
        self.blobs = StuckBlobs(random.Random(0))
        self.records = MemoryRecords()
        self.clock = Clock()
        self.service = SandboxService(
            ScriptedEngine(),
            settings=ServiceSettings(life=LifeSettings(owner_mib=owner_mib, all_mib=all_mib, forget_every_seconds=0)),
            records=self.records,
            snapshots=Snapshots(self.blobs),
            clock=self.clock,
            now=self.clock,
        )

    async def save(self, key: str, mib: float, owner: str = "team") -> None:
        self.clock.now += 1
        name = f"state/{key}"
        self.blobs.kept[name] = b""
        saved = Record(key=key, owner=owner, snapshot=name, snapshot_bytes=int(mib * MIB), saved_at=self.clock.now)
        await self.records.put(saved)

    async def kept(self) -> list[str]:
        """The keys whose state is left after a round of forgetting, in records and store alike."""
        await self.service.reaper.reap()
        found = [record for record in await self.records.all() if record.snapshot]
        assert {record.snapshot for record in found} == self.blobs.kept.keys()
        return [record.key for record in found]

    async def notice(self, key: str) -> str:
        record = await self.records.get(key)
        assert record is not None
        return record.notice


async def test_over_the_quota_of_all_the_oldest_goes_whoever_owns_it() -> None:
    store = Store(all_mib=3)
    for number, owner in enumerate(("one", "two", "one", "three", "two")):
        await store.save(f"{number}", 1, owner)

    assert await store.kept() == ["2", "3", "4"]
    assert [await store.notice(str(number)) for number in range(5)] == [NOTICE, NOTICE, "", "", ""]


async def test_what_fits_exactly_is_kept() -> None:
    store = Store(owner_mib=2, all_mib=4)
    for key, owner in (("a", "one"), ("b", "one"), ("c", "two"), ("d", "two")):
        await store.save(key, 1, owner)

    assert await store.kept() == ["a", "b", "c", "d"]


async def test_an_owner_over_its_quota_costs_no_other_owner_anything() -> None:
    """What the owner's own quota takes away is not there any more, and does not count for all."""
    store = Store(owner_mib=1, all_mib=3)
    await store.save("quiet", 1, "one")
    for number in range(5):
        await store.save(f"loud-{number}", 1, "two")

    assert await store.kept() == ["quiet", "loud-4"]


async def test_a_state_that_is_larger_than_the_quota_takes_no_other_with_it() -> None:
    store = Store(owner_mib=2)
    await store.save("small", 1)
    await store.save("huge", 3)

    assert await store.kept() == ["small"]
    assert await store.notice("huge") == "It was larger than the space for saved variables and files."


async def test_what_is_too_old_makes_no_room_scarce() -> None:
    store = Store(all_mib=2)
    await store.save("old", 2)
    store.clock.now += 15 * DAY
    await store.save("new", 2)

    assert await store.kept() == ["new"]
    assert await store.notice("old") == "It was not used for 14 days."


async def test_what_cannot_be_deleted_counts_until_it_is() -> None:
    store = Store(all_mib=2)
    for key in ("a", "b", "c"):
        await store.save(key, 1)
    store.blobs.stuck = "state/a"

    assert await store.kept() == ["a", "b", "c"]
    store.blobs.stuck = ""
    assert await store.kept() == ["b", "c"]


async def test_state_of_a_thread_in_use_is_left() -> None:
    store = Store(all_mib=1)
    for key in ("idle", "used", "newest"):
        await store.save(key, 1)

    async with store.service.lease("used"):
        assert await store.kept() == ["used", "newest"]
    assert await store.notice("used") == ""
