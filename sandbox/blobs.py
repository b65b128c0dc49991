"""Saved state in a blob store: a folder of this machine, memory, or S3, GCS and Azure by URL (obstore).

What is kept was compressed here and is decompressed here; what a sandbox wrote is bytes to us.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import obstore
import zstandard
from obstore.exceptions import BaseError
from obstore.store import LocalStore, MemoryStore, from_url

from sandbox.errors import BlobsUnavailable, StateMissing

LEVEL = 1  # the fastest: a thread waits for its state, the store is cheap
BLOCK_BYTES = 256 * 1024
"""Compressed by itself, so that no piece of the store can grow beyond it: half a millisecond of work."""
_LENGTH = struct.Struct(">I")


class Blobs:
    """Streams by name. `prefix` keeps several installations in one bucket apart."""

    def __init__(self, store: Any, prefix: str = "") -> None:
        self._store = store
        self._prefix = prefix

    @classmethod
    def at(cls, url: str, *, prefix: str = "", **options: Any) -> Blobs:
        """A store by URL (s3://bucket/path, gs://, az://, memory://), or a folder by its path.

        Credentials come from the store's own environment variables, or from `options` (obstore's names).
        Raises ValueError, with nothing of the URL in it.
        """
        if url == "memory://":
            return cls(MemoryStore(), prefix)
        if "://" not in url:
            return cls(_folder(Path(url).expanduser().resolve()), prefix)
        try:
            return cls(from_url(url, **options), prefix)
        except BaseError:
            raise ValueError("it is no store: it begins with s3://, gs:// or az://, then comes the bucket") from None

    async def put(self, name: str, chunks: AsyncIterator[bytes]) -> int:
        """Keep a stream; the bytes that it takes in the store. All or nothing. Raises BlobsUnavailable."""
        count = 0

        async def blocks() -> AsyncIterator[bytes]:
            nonlocal count
            async for block in _in_blocks(chunks):
                data = zstandard.compress(block, LEVEL)
                count += _LENGTH.size + len(data)
                yield _LENGTH.pack(len(data)) + data

        try:
            await obstore.put_async(self._store, self._prefix + name, blocks())
        except (BaseError, OSError) as error:
            raise BlobsUnavailable(f"The state could not be stored ({str(error)[:200]}).") from error
        return count

    async def get(self, name: str) -> AsyncIterator[bytes]:
        """The stream again, in pieces. Raises StateMissing, BlobsUnavailable."""
        try:
            found = await obstore.get_async(self._store, self._prefix + name)
            buffer = bytearray()
            async for piece in found.stream(min_chunk_size=BLOCK_BYTES):
                buffer += bytes(piece)
                while block := _take_block(buffer):
                    yield zstandard.decompress(block, max_output_size=BLOCK_BYTES)
                    await asyncio.sleep(0)
        except FileNotFoundError as error:
            raise StateMissing from error
        except (BaseError, OSError, zstandard.ZstdError) as error:
            raise BlobsUnavailable(f"The state could not be read ({str(error)[:200]}).") from error

    async def older(self, folder: str, before: datetime, most: int) -> list[str]:
        """Names below a folder that were put before a moment, no more than so many. Raises BlobsUnavailable."""

        def find() -> list[str]:
            found: list[str] = []
            # not the asynchronous listing: with it the process may abort at its end (obstore 0.12)
            for page in obstore.list(self._store, self._prefix + folder):
                found += [blob["path"] for blob in page if blob["last_modified"] < before]
                if len(found) >= most:
                    break
            return [path.removeprefix(self._prefix) for path in found[:most]]

        try:
            return await asyncio.to_thread(find)
        except (BaseError, OSError) as error:
            raise BlobsUnavailable(f"The store could not be listed ({str(error)[:200]}).") from error

    async def delete(self, name: str) -> None:
        """Forget a stream; one that is not there is no error. Raises BlobsUnavailable."""
        try:
            await obstore.delete_async(self._store, self._prefix + name)
        except FileNotFoundError:
            return
        except (BaseError, OSError) as error:
            raise BlobsUnavailable(f"The state could not be deleted ({str(error)[:200]}).") from error


def _folder(path: Path) -> LocalStore:
    try:
        return LocalStore(str(path), mkdir=True)
    except (BaseError, OSError):
        raise ValueError(f"the folder {path} cannot be made") from None


async def _in_blocks(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    buffer = bytearray()
    async for chunk in chunks:
        buffer += chunk
        while len(buffer) >= BLOCK_BYTES:
            yield bytes(buffer[:BLOCK_BYTES])
            del buffer[:BLOCK_BYTES]
    yield bytes(buffer)


def _take_block(buffer: bytearray) -> bytes:
    """The next compressed block, taken from the buffer; empty when it is not complete. Raises ZstdError."""
    if len(buffer) < _LENGTH.size:
        return b""
    (length,) = _LENGTH.unpack_from(buffer)
    if length > 2 * BLOCK_BYTES:
        raise zstandard.ZstdError("a block is longer than any that was written")
    if len(buffer) < _LENGTH.size + length:
        return b""
    block = bytes(buffer[_LENGTH.size : _LENGTH.size + length])
    del buffer[: _LENGTH.size + length]
    return block
