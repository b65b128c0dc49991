"""The stream of an attach, joined: what one side sends is written to the other, no faster than that one takes it.

Protocols and not streams, which wake a task for each chunk: every cell passes here.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
from typing import cast

GONE_SECONDS = 1.0  # between two looks whether a client that only listens is there still
FLUSH_SECONDS = 5.0  # for the last bytes to a side that reads slowly

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def joined(client: Streams, engine: Streams) -> None:
    """Join two connections until one of them ends; both are closed then."""
    ended = asyncio.Event()
    halves = _Client(client[1], engine[1], ended), _Half(engine[1], client[1], ended)
    try:
        for half, (reader, _) in zip(halves, (client, engine), strict=True):
            await half.take(reader)
        for half in halves:
            half.release()
        await ended.wait()
        async with asyncio.timeout(FLUSH_SECONDS):
            for half in halves:
                await half.lost.wait()
    except TimeoutError:
        pass
    finally:
        client[1].transport.abort()
        engine[1].transport.abort()


class _Half(asyncio.Protocol):
    """One connection; this one is the engine's, whose end is the end."""

    def __init__(self, own: asyncio.StreamWriter, other: asyncio.StreamWriter, ended: asyncio.Event) -> None:
        self.lost = asyncio.Event()
        self._own = cast(asyncio.Transport, own.transport)
        self._other = cast(asyncio.Transport, other.transport)
        self._ended = ended
        self._held: list[bytes] | None = []
        self._over = False

    async def take(self, reader: asyncio.StreamReader) -> None:
        """Take the connection over from its reader, with what has come so far, which is held until the release."""
        self._own.set_protocol(self)
        async with asyncio.TaskGroup() as group:
            rest = group.create_task(_rest(reader), name="guard-rest")
            await asyncio.sleep(0)
            self._over |= rest.done()  # so the reader has seen the end, and nobody will tell us again
            reader.feed_eof()
        self._held = [rest.result(), *(self._held or [])]

    def release(self) -> None:
        """Let through what was held, and all that comes."""
        held, self._held = self._held or [], None
        self._own.resume_reading()
        for data in held:
            self.data_received(data)
        if self._over and not self.eof_received():
            self._own.close()

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        if self._held is not None:
            self._held.append(data)
        elif data and not self._other.is_closing():
            self._other.write(data)

    def pause_writing(self) -> None:
        """Called by the loop."""
        self._other.pause_reading()

    def resume_writing(self) -> None:
        """Called by the loop."""
        self._other.resume_reading()

    def eof_received(self) -> bool:
        """Called by the loop. True keeps the connection."""
        self._over = True
        return self._held is not None

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop."""
        self.lost.set()
        self._ended.set()
        self._other.close()  # its last bytes go out first


class _Client(_Half):
    """The client's: it may end its half and listen to the other still, as `docker attach` does."""

    def release(self) -> None:
        """See _Half."""
        super().release()
        self._look()

    def eof_received(self) -> bool:
        """Called by the loop. True keeps the connection."""
        if super().eof_received():
            return True
        if gone(self._own):
            return False
        with contextlib.suppress(OSError):
            self._other.write_eof()
        return True

    def _look(self) -> None:
        # while it is read, its end comes after its last words
        if (self._over or not self._own.is_reading()) and gone(self._own):
            self._own.close()
        if not self.lost.is_set():
            asyncio.get_running_loop().call_later(GONE_SECONDS, self._look)


async def _rest(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except OSError:
        return b""


def gone(transport: asyncio.WriteTransport) -> bool:
    """Whether the other end is closed both ways: a unix socket says so by a hang-up, of which the loop has no event."""
    if transport.is_closing():
        return True
    poll = select.poll()
    poll.register(transport.get_extra_info("socket"), select.POLLHUP)
    return bool(poll.poll(0))
