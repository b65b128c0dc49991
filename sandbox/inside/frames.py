"""The frame codec that both ends of a sandbox's stream share; standard library only, since it also runs inside.

A frame is a fixed header and at most 64 KiB of payload. Header and payload carry a CRC each: with a good
header the length can be trusted, so a broken payload costs its own length and no search, and hostile bytes
are decoded in linear time and bounded memory.
"""

from __future__ import annotations

import enum
import struct
import zlib
from typing import NamedTuple

MAGIC = b"\xf5tbx"
MAX_PAYLOAD = 64 * 1024  # bytes
_FIELDS = struct.Struct(">4sBIIQII")  # magic, kind, stream, epoch, seq, length, payload CRC
_CRC = struct.Struct(">I")  # of the fields before it
HEADER_SIZE = _FIELDS.size + _CRC.size
COST = HEADER_SIZE + 128  # bytes that a frame takes beyond its payload wherever it waits: many empty ones are not free
PADDING = bytes(HEADER_SIZE + MAX_PAYLOAD)
"""Sent before a second HELLO: it completes and spoils whatever half frame a dead host left behind."""


class Kind(enum.IntEnum):
    """The closed set of frames; a frame of any other kind is dropped."""

    HELLO = 1  # host: JSON {nonce, seen}; the epoch is in the header
    WELCOME = 2  # box: JSON {boot, last_stream, python}
    OPEN = 3  # host: JSON {op, ...} opens a stream
    DATA = 4  # either: bytes of a body
    END = 5  # host: end of body; box: JSON outcome, closes the stream
    STDOUT = 6  # box: bytes
    STDERR = 7  # box: bytes
    DISPLAY = 8  # box: JSON {mimes: [[mime, size], ...]}, the bodies follow as DATA
    INTERRUPT = 9  # host: stop this stream's work
    CREDIT = 10  # host: u32, so many more bytes of DATA may come
    ACK = 11  # host: u64, every frame up to this number has arrived
    PING = 12  # host
    PONG = 13  # box
    NOTE = 14  # box: JSON, something a reader of the stream should know
    CONNECT = 17  # box: JSON {host, port, credit} asks for a tunnel on a stream of its own
    ANSWER = 18  # host: JSON {status, error}, to a CONNECT
    SAVE = 15  # supervisor to kernel: JSON limits; the variables go to a descriptor they share
    LOAD = 16  # supervisor to kernel: JSON limits; the variables are in that descriptor


class Frame(NamedTuple):
    """One frame; `seq` is 0 for frames that are not numbered."""

    kind: Kind
    stream: int
    epoch: int
    seq: int
    payload: bytes


_KINDS = {int(kind): kind for kind in Kind}


def encode(kind: Kind, stream: int = 0, payload: bytes = b"", *, epoch: int = 0, seq: int = 0) -> bytes:
    """One frame as bytes. Raises ValueError when the payload is over 64 KiB."""
    if len(payload) > MAX_PAYLOAD:
        raise ValueError(f"payload of {len(payload)} bytes; a frame holds {MAX_PAYLOAD}")
    fields = _FIELDS.pack(MAGIC, kind, stream, epoch, seq, len(payload), zlib.crc32(payload))
    return b"".join((fields, _CRC.pack(zlib.crc32(fields)), payload))


class Decoder:
    """Turns bytes, cut anywhere and possibly hostile, into frames; holds at most one frame's bytes."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.dropped = 0  # bytes that belonged to no good frame

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes, in order."""
        buffer = self._buffer
        buffer += data
        frames: list[Frame] = []
        position = 0
        while True:
            start = self._next_start(position)
            self.dropped += start - position
            position = start
            if len(buffer) - position < HEADER_SIZE:
                break
            header = self._header(position)
            if header is None:
                position += 1
                self.dropped += 1
                continue
            kind, stream, epoch, seq, length, crc = header
            end = position + HEADER_SIZE + length
            if len(buffer) < end:
                break
            payload = bytes(buffer[position + HEADER_SIZE : end])
            if kind in _KINDS and zlib.crc32(payload) == crc:
                frames.append(Frame(_KINDS[kind], stream, epoch, seq, payload))
            else:
                self.dropped += end - position
            position = end
        del buffer[:position]
        return frames

    def _next_start(self, position: int) -> int:
        start = self._buffer.find(MAGIC, position)
        if start >= 0:
            return start
        # the tail may be the beginning of a magic that the next bytes complete
        for keep in range(len(MAGIC) - 1, 0, -1):
            if self._buffer.endswith(MAGIC[:keep]):
                return max(position, len(self._buffer) - keep)
        return len(self._buffer)

    def _header(self, position: int) -> tuple[int, int, int, int, int, int] | None:
        fields = bytes(self._buffer[position : position + _FIELDS.size])
        (crc,) = _CRC.unpack_from(self._buffer, position + _FIELDS.size)
        if zlib.crc32(fields) != crc:
            return None
        _, kind, stream, epoch, seq, length, payload_crc = _FIELDS.unpack(fields)
        return None if length > MAX_PAYLOAD else (kind, stream, epoch, seq, length, payload_crc)


def chunks(data: bytes) -> list[bytes]:
    """`data` in pieces that fit a frame."""
    return [data[i : i + MAX_PAYLOAD] for i in range(0, len(data), MAX_PAYLOAD)]
