"""The supervisor's end of the stream to the host: numbered frames, kept until the host has acknowledged them."""

from __future__ import annotations

import json
import os
from collections import deque
from typing import Any

from .frames import COST, HEADER_SIZE, MAX_PAYLOAD, Decoder, Frame, Kind, chunks, encode

READ_BYTES = 1 << 16  # what a pipe holds; a larger buffer is mapped and unmapped at each read
KEEP_BYTES = 8 * 1024 * 1024  # unacknowledged output; past it downloads and tunnels wait

BATCH_FRAMES = 16  # joined into one write, so that a result and its end travel together


class HostGone(Exception):
    """The engine closed the supervisor's standard input for good."""


class HostLink:
    """Non-blocking reader and writer of frames on two descriptors.

    The engine throws away what is written while no host is attached, so numbered frames stay in memory
    until a host acknowledges them and are sent again after a HELLO that names the last one seen.
    """

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self.read_fd = read_fd
        self.write_fd = write_fd
        os.set_blocking(read_fd, False)
        os.set_blocking(write_fd, False)
        self._decoder = Decoder()
        self._epoch = 0
        self._nonce: str | None = None
        self._seq = 0
        self._unacked: deque[tuple[int, bytes]] = deque()
        self._unacked_bytes = 0
        self._queue: deque[bytes] = deque()
        self._writing = memoryview(b"")

    @property
    def wants_write(self) -> bool:
        """Whether bytes wait for the descriptor to take them."""
        return bool(self._queue) or len(self._writing) > 0

    @property
    def is_full(self) -> bool:
        """Whether so much is unacknowledged that producers must wait."""
        return self._unacked_bytes >= KEEP_BYTES

    def read(self) -> list[Frame]:
        """Frames of the host that is attached now. Raises HostGone at end of file."""
        try:
            data = os.read(self.read_fd, READ_BYTES)
        except BlockingIOError:
            return []
        if not data:
            raise HostGone
        return [frame for frame in self._decoder.feed(data) if self._accept(frame)]

    def _accept(self, frame: Frame) -> bool:
        if frame.kind is not Kind.HELLO:
            return frame.epoch == self._epoch != 0
        try:
            hello = json.loads(frame.payload)
            nonce, seen = str(hello["nonce"]), int(hello["seen"])
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return False
        if frame.epoch <= self._epoch or (self._nonce is not None and nonce != self._nonce):
            return False
        self._epoch, self._nonce = frame.epoch, nonce
        self.acknowledge(seen)
        # a frame half written is finished first: the new host finds the next magic after its tail
        self._queue = deque(data for _, data in self._unacked)
        return True

    @property
    def next_seq(self) -> int:
        """The number of the next frame."""
        return self._seq + 1

    @property
    def oldest(self) -> int:
        """The number of the first frame that is kept, or of the next one."""
        return self._unacked[0][0] if self._unacked else self._seq + 1

    def acknowledge(self, seq: int) -> None:
        """Forget every kept frame up to `seq`."""
        while self._unacked and self._unacked[0][0] <= seq:
            self._unacked_bytes -= len(self._unacked.popleft()[1]) - HEADER_SIZE + COST

    def send(self, kind: Kind, stream: int, payload: bytes = b"") -> None:
        """Queue a numbered frame; it outlives a detached host."""
        self._seq += 1
        data = encode(kind, stream, payload, epoch=self._epoch, seq=self._seq)
        self._unacked.append((self._seq, data))
        self._unacked_bytes += len(payload) + COST
        self._queue.append(data)

    def send_json(self, kind: Kind, stream: int, value: dict[str, Any]) -> None:
        """Queue a numbered frame of JSON, cut to what a frame holds by dropping its longest list."""
        payload = json.dumps(value, separators=(",", ":")).encode()
        while len(payload) > MAX_PAYLOAD:
            lists = [key for key, item in value.items() if isinstance(item, list) and item]
            if not lists:
                value = {"status": "error", "exit_code": 1, "cut": True}
            else:
                longest = max(lists, key=lambda key: len(value[key]))
                value = {**value, longest: value[longest][: len(value[longest]) // 2], "cut": True}
            payload = json.dumps(value, separators=(",", ":")).encode()
        self.send(kind, stream, payload)

    def send_data(self, stream: int, data: bytes, kind: Kind = Kind.DATA) -> None:
        """Queue bytes of any length as frames of at most 64 KiB."""
        for chunk in chunks(data):
            self.send(kind, stream, chunk)

    def send_unnumbered(self, kind: Kind, value: dict[str, Any] | None = None) -> None:
        """Queue a frame that concerns only the host attached now; it goes before all others."""
        payload = json.dumps(value).encode() if value is not None else b""
        self._queue.appendleft(encode(kind, 0, payload, epoch=self._epoch))

    def flush(self) -> None:
        """Write what the descriptor takes."""
        while self.wants_write:
            if not self._writing:
                batch = [self._queue.popleft() for _ in range(min(len(self._queue), BATCH_FRAMES))]
                self._writing = memoryview(b"".join(batch))
            try:
                written = os.write(self.write_fd, self._writing)
            except BlockingIOError:
                return
            self._writing = self._writing[written:]
