"""Whatever bytes come, and whichever hosts come and go: the supervisor's end never raises and loses nothing."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from hypothesis import given
from hypothesis import strategies as st

from sandbox.inside.frames import PADDING, Decoder, Frame, Kind, encode
from sandbox.inside.link import HostLink
from tests.doubles.hostile_frames import frames, payloads, pieces


class Host:
    """Hosts one after the other at the other end of a link; what nobody reads when one goes is lost."""

    def __init__(self) -> None:
        self.to_link, link_reads = socket.socketpair()
        self.from_link, link_writes = socket.socketpair()
        self.ends = (self.to_link, link_reads, self.from_link, link_writes)
        for end in self.ends:
            end.setblocking(False)
        self.link = HostLink(link_reads.fileno(), link_writes.fileno())
        self.epoch = 0
        self.seen = 0
        self.got: list[bytes] = []
        self._decoder = Decoder()

    def tell(self, data: bytes) -> list[Frame]:
        """Bytes for the link, and the frames that it takes."""
        taken = []
        for start in range(0, len(data), 4096):
            self.to_link.send(data[start : start + 4096])
            taken += self.link.read()
        return taken

    def hear(self, most: int) -> int:
        """Read so many bytes of what the link says."""
        self.link.flush()
        try:
            data = self.from_link.recv(most)
        except BlockingIOError:
            return 0
        for frame in self._decoder.feed(data):
            if frame.seq == self.seen + 1:
                self.seen = frame.seq
                self.got.append(frame.payload)
        return len(data)

    def hello(self, *, left_behind: int) -> None:
        """Another host comes; the one before left part of a frame behind, and what it did not read is thrown away."""
        while self.hear_nothing():
            pass
        half = encode(Kind.DATA, 1, b"x" * 200, epoch=self.epoch)[:left_behind]
        self.epoch += 1
        self._decoder = Decoder()
        hello = json.dumps({"nonce": "n", "seen": self.seen}).encode()
        taken = self.tell(half + PADDING + encode(Kind.HELLO, 0, hello, epoch=self.epoch))
        assert [frame.kind for frame in taken] == [Kind.HELLO]

    def hear_nothing(self) -> bool:
        self.link.flush()
        try:
            return bool(self.from_link.recv(1 << 16))
        except BlockingIOError:
            return False

    def acknowledge(self) -> None:
        """As the supervisor does with an ACK."""
        for frame in self.tell(encode(Kind.ACK, 0, self.seen.to_bytes(8, "big"), epoch=self.epoch)):
            self.link.acknowledge(int.from_bytes(frame.payload, "big"))


@contextmanager
def linked() -> Iterator[Host]:
    host = Host()
    try:
        yield host
    finally:
        for end in host.ends:
            end.close()


HELLO = {"nonce": "n", "seen": 0}


@given(pieces(frames(payloads(HELLO), st.integers(0, 2**32 - 1), Kind.HELLO)))
def test_the_supervisor_takes_any_bytes_and_only_frames_of_the_newest_host(data: list[bytes]) -> None:
    with linked() as host:
        epoch = 0
        for piece in data:
            for frame in host.tell(piece):
                assert frame.epoch > epoch if frame.kind is Kind.HELLO else frame.epoch == epoch
                epoch = frame.epoch
        host.link.send(Kind.STDOUT, 1, b"still there")
        host.hear(1 << 16)

        assert host.got == [b"still there"]


steps = st.one_of(
    st.tuples(st.just("send"), st.integers(0, 3000)),
    st.tuples(st.just("hear"), st.integers(1, 3000)),
    st.tuples(st.just("hello"), st.integers(0, 200)),
    st.tuples(st.just("acknowledge"), st.just(0)),
)


@given(st.lists(steps, max_size=30))
def test_hosts_that_come_and_go_miss_nothing_and_hear_nothing_twice(steps: list[tuple[str, int]]) -> None:
    sent = []
    with linked() as host:
        host.hello(left_behind=0)
        for step, number in steps:
            if step == "send":
                sent.append(os.urandom(number))
                host.link.send(Kind.STDOUT, 1, sent[-1])
            elif step == "hear":
                host.hear(number)
            elif step == "hello":
                host.hello(left_behind=number)
            else:
                host.acknowledge()
        host.hello(left_behind=0)
        while host.hear(1 << 16):
            pass
        host.acknowledge()

        assert host.got == sent
        assert host.link.oldest == len(sent) + 1  # nothing is kept that was acknowledged
