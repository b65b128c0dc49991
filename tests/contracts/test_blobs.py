"""The store for saved state: in memory, in a folder, and on S3 as moto's server speaks it."""

from __future__ import annotations

import os
import urllib.request
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sandbox.blobs import BLOCK_BYTES, Blobs
from sandbox.errors import BlobsUnavailable, StateMissing


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    from moto.server import ThreadedMotoServer  # half a second of imports that most runs need nothing of

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(params=["memory", "folder", pytest.param("s3", marks=pytest.mark.thorough)])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    if request.param == "memory":
        return Blobs.at("memory://")
    if request.param == "folder":
        return Blobs.at(str(tmp_path / "state"))
    endpoint = request.getfixturevalue("s3")
    bucket = f"b{os.urandom(4).hex()}"
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/{bucket}", method="PUT")).close()
    options = {"endpoint": endpoint, "access_key_id": "a", "secret_access_key": "s", "region": "us-east-1"}
    return Blobs.at(f"s3://{bucket}/threads", client_options={"allow_http": True}, **options)


async def pieces(data: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def all_of(blobs: Blobs, name: str) -> bytes:
    return b"".join([piece async for piece in blobs.get(name)])


@pytest.mark.parametrize("size", [0, 1, BLOCK_BYTES, pytest.param(12_000_001, marks=pytest.mark.thorough)])
async def test_what_was_put_comes_back_whole(blobs: Blobs, size: int) -> None:
    data = os.urandom(size)

    count = await blobs.put("state/a", pieces(data, 65536))

    assert await all_of(blobs, "state/a") == data
    assert count >= size


async def test_the_newest_replaces_the_older(blobs: Blobs) -> None:
    for data in (b"old" * 1000, b"new"):
        await blobs.put("state/a", pieces(data, 100))

    assert await all_of(blobs, "state/a") == b"new"


async def test_a_stream_that_breaks_leaves_what_was_there(blobs: Blobs) -> None:
    async def breaks() -> AsyncIterator[bytes]:
        yield os.urandom(9_000_000)
        raise RuntimeError("the sandbox ended")

    await blobs.put("state/a", pieces(b"before", 10))

    with pytest.raises((RuntimeError, BlobsUnavailable)):
        await blobs.put("state/a", breaks())

    assert await all_of(blobs, "state/a") == b"before"


async def test_what_is_not_there_is_missing_and_deleting_it_is_no_error(blobs: Blobs) -> None:
    await blobs.put("state/a", pieces(b"x", 1))
    await blobs.delete("state/a")
    await blobs.delete("state/a")

    with pytest.raises(StateMissing):
        await all_of(blobs, "state/a")


async def test_what_was_put_before_a_moment_is_listed_by_its_folder(blobs: Blobs) -> None:
    before = datetime.now(UTC) - timedelta(seconds=60)
    for name in ("steps/a/1", "steps/b/1", "stepsx/1", "state/1"):
        await blobs.put(name, pieces(b"x", 1))
    after = datetime.now(UTC) + timedelta(seconds=60)

    assert await blobs.older("steps/", before, 10) == []
    assert sorted(await blobs.older("steps/", after, 10)) == ["steps/a/1", "steps/b/1"]
    assert len(await blobs.older("steps/", after, 1)) == 1
    assert await blobs.older("none/", after, 10) == []


@pytest.mark.thorough
async def test_no_piece_is_larger_than_a_block_however_well_it_was_compressed(blobs: Blobs) -> None:
    await blobs.put("state/a", pieces(bytes(50_000_000), 65536))

    sizes = [len(piece) async for piece in blobs.get("state/a")]

    assert sum(sizes) == 50_000_000
    assert max(sizes) == BLOCK_BYTES


async def test_a_store_that_cannot_be_reached_is_said_so(tmp_path: Path) -> None:
    options = {"access_key_id": "a", "secret_access_key": "s", "region": "us-east-1"}
    nobody = Blobs.at(
        "s3://bucket", endpoint="http://127.0.0.1:1", client_options={"allow_http": True},
        retry_config={"max_retries": 0}, **options
    )  # fmt: skip

    with pytest.raises(BlobsUnavailable):
        await nobody.put("a", pieces(b"x", 1))
    with pytest.raises(BlobsUnavailable):
        await all_of(nobody, "a")
    with pytest.raises(BlobsUnavailable):
        await nobody.older("a/", datetime.now(UTC), 1)


@pytest.mark.parametrize("url", ["ftp://me:hunter2@host/place", "s3://", "memory://x"])
def test_what_is_no_store_is_said_without_the_address(url: str) -> None:
    with pytest.raises(ValueError, match="it is no store") as caught:
        Blobs.at(url)

    assert "hunter2" not in str(caught.value)
