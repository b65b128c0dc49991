from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sandbox.inside.frames import HEADER_SIZE, MAGIC, MAX_PAYLOAD, PADDING, Decoder, Frame, Kind, chunks, encode

frames = st.builds(
    Frame,
    kind=st.sampled_from(Kind),
    stream=st.integers(0, 2**32 - 1),
    epoch=st.integers(0, 2**32 - 1),
    seq=st.integers(0, 2**64 - 1),
    payload=st.binary(max_size=300),
)


def encoded(frame: Frame) -> bytes:
    return encode(frame.kind, frame.stream, frame.payload, epoch=frame.epoch, seq=frame.seq)


def fed(data: bytes, cuts: list[int]) -> tuple[list[Frame], Decoder]:
    """What a decoder makes of `data` cut into pieces of these lengths, again and again."""
    decoder = Decoder()
    got: list[Frame] = []
    position = 0
    index = 0
    while position < len(data):
        size = cuts[index % len(cuts)]
        got += decoder.feed(data[position : position + size])
        position += size
        index += 1
    return got, decoder


@given(st.lists(frames, max_size=8), st.lists(st.integers(1, 100), min_size=1, max_size=5))
def test_frames_cut_anywhere_come_out_whole_and_in_order(sent: list[Frame], cuts: list[int]) -> None:
    got, decoder = fed(b"".join(map(encoded, sent)), cuts)

    assert got == sent
    assert decoder.dropped == 0


@given(st.binary(max_size=2000).filter(lambda data: MAGIC not in data), frames)
def test_a_frame_is_found_behind_noise(noise: bytes, frame: Frame) -> None:
    got = Decoder().feed(noise + encoded(frame))

    assert got[-1] == frame


@given(st.binary(max_size=5000), st.lists(st.integers(1, 64), min_size=1, max_size=4))
def test_hostile_bytes_never_raise_and_never_pile_up(data: bytes, cuts: list[int]) -> None:
    _, decoder = fed(data + MAGIC * 50, cuts)

    assert len(decoder._buffer) <= HEADER_SIZE + MAX_PAYLOAD


@given(frames, st.integers(0, 10_000))
def test_a_flipped_bit_never_yields_a_different_frame(frame: Frame, position: int) -> None:
    data = bytearray(encoded(frame))
    data[position % len(data)] ^= 1

    assert all(got == frame for got in Decoder().feed(bytes(data)))


def test_padding_completes_and_spoils_a_half_frame() -> None:
    decoder = Decoder()
    half = encode(Kind.DATA, 7, b"x" * MAX_PAYLOAD)[:100]
    hello = encode(Kind.HELLO, 0, b"{}", epoch=2)

    assert decoder.feed(half) == []
    assert [frame.kind for frame in decoder.feed(PADDING + hello)] == [Kind.HELLO]


def test_a_kind_that_is_not_known_is_dropped() -> None:
    data = bytearray(encode(Kind.PING))
    known = Decoder().feed(bytes(data))
    data[4] = 200

    assert [frame.kind for frame in known] == [Kind.PING]
    assert Decoder().feed(bytes(data)) == []


def test_chunks_fit_a_frame_and_lose_nothing() -> None:
    data = bytes(range(256)) * 1000

    assert b"".join(chunks(data)) == data
    assert max(map(len, chunks(data))) == MAX_PAYLOAD
