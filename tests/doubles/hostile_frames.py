"""Bytes that a stream of frames may bring although nobody honest sends them, for Hypothesis."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from sandbox.inside.frames import Kind, encode

EPOCH = 7
DEEP = b"[" * 3000  # for a reader that recurses

nonsense = st.one_of(
    st.sampled_from([None, True, "", "x", "\ud800", -1, 1.5, 2**31, 2**32, 2**64, 10**300, float("inf"), float("nan")]),
    st.sampled_from([[], {}, [1], [[]], [["a"]], [["a", -1]], [["a", 2**70]], [{}], {"name": {}}, {"size": "x"}]),
    st.sampled_from(
        [["a", 2**32, 1, 1], ["a", -1, 1, 1], ["a", 1, float("inf"), 1], ["a", 1, 1, 2**70], ["a", 1, 1, 0]]
    ),
    st.integers(0, 9),
)


def payloads(*good: dict[str, Any]) -> st.SearchStrategy[bytes]:
    """Messages of these, most with a field that is nonsense, and what is no message at all."""
    messages = [
        st.builds(lambda each, name, value: json.dumps({**each, name: value}).encode(),
                  st.just(each), st.sampled_from(sorted(each)), nonsense)
        for each in good
    ]  # fmt: skip
    return st.one_of(*messages, st.just(DEEP), st.binary(max_size=50), nonsense.map(lambda v: json.dumps(v).encode()))


def frames(
    payloads: st.SearchStrategy[bytes], streams: st.SearchStrategy[int], often: Kind
) -> st.SearchStrategy[bytes]:
    return st.builds(
        lambda kind, stream, payload, epoch, seq: encode(kind, stream, payload, epoch=epoch, seq=seq),
        kind=st.just(often) | st.sampled_from(Kind),
        stream=streams,
        payload=payloads,
        epoch=st.just(EPOCH) | st.integers(0, 9),
        seq=st.integers(0, 6) | st.integers(0, 2**64 - 1),
    )


def pieces(frames: st.SearchStrategy[bytes]) -> st.SearchStrategy[list[bytes]]:
    """Frames, parts of frames and noise."""
    cut = st.tuples(frames, st.integers(0, 300)).map(lambda pair: pair[0][: pair[1]])
    return st.lists(st.one_of(frames, frames, frames, cut, st.binary(max_size=50)), max_size=8)
