"""A value as frames of Dask's messages."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

pytest.importorskip("distributed", reason="no distributed is here")

from pipeframe_async.executors.dask import frames
from pipeframe_async.wire import OutOfBand, Reply


def hop(value: object) -> Any:
    """What the other side has: frames come as views of memory."""
    return frames.load([memoryview(bytearray(frame.data)) for frame in frames.dump(value)])


def test_a_small_payload_is_in_the_pickle() -> None:
    sent = frames.dump(frames.light(b"small"))
    assert len(sent) == 1
    assert hop(frames.light(b"small")) == b"small"


def test_a_large_one_stands_beside_it_and_is_not_copied() -> None:
    large = bytearray(100_000)
    sent = frames.dump(("head", frames.light(large)))
    assert len(sent) == 2
    large[0] = 7
    assert sent[1].data[0] == 7


def test_buffers_beside_a_payload_survive_several_hops() -> None:
    payload: Any = OutOfBand(bytes(50_000), (pickle.PickleBuffer(bytearray(b"x" * 20_000)),))
    for _ in range(3):
        payload = hop(frames.light(payload))
    assert (len(payload.data), bytes(payload.buffers[0])) == (50_000, b"x" * 20_000)


def test_a_reply_comes_as_it_was() -> None:
    reply = Reply(3, delivered=3, results=frames.light(b"abc"), spans={1: 0})
    assert hop(reply) == reply


def test_what_comes_may_be_written_into() -> None:
    frame = frames.dump(("head", frames.light(bytearray(100_000))))
    _, found = frames.load([bytes(frame[0].data), bytes(frame[1].data)])
    found[0] = 7
