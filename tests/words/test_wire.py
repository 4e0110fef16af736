"""What crosses the border: whose result is whose, and how many bytes it is."""

from __future__ import annotations

import pickle

from hypothesis import given
from hypothesis import strategies as st

from pipeframe_async.wire import Fault, Packed, Reply, StepTimes, WireFailure, owners


@given(st.lists(st.integers(0, 4), max_size=30))
def test_each_result_belongs_to_the_record_it_was_made_of(results: list[int]) -> None:
    spans = {place: made for place, made in enumerate(results) if made != 1}
    belongs = owners(len(results), spans)
    assert belongs == sorted(belongs)
    assert [belongs.count(place) for place in range(len(results))] == results
    assert Reply(len(results), spans=spans).owners() == belongs


def test_the_payload_is_weighed_in_either_form() -> None:
    assert Packed(2, b"12345").nbytes == 5
    assert Packed(2, (b"123", b"4567")).nbytes == 7
    assert [Packed(2, data).framed for data in (b"1", (b"1", b"2"), ())] == [False, True, True]
    assert Reply(2, results=b"12345").nbytes == 5
    assert Reply(2, results=(b"123", b"4567")).nbytes == 7
    assert Reply(2).nbytes == 0


def test_a_reply_comes_back_equal() -> None:
    failure = WireFailure(1, 0, "raised", "ValueError", "bad", "Traceback", b"1")
    times = (StepTimes(2, 1, 500, (500,)),)
    for reply in (
        Reply(2, 1, 0, 0, 0, b"12", {1: 0}, (failure,), times, 0.5, 0.4),
        Reply(0, fault=Fault("broken-chain", "no", "Traceback")),
    ):
        assert pickle.loads(pickle.dumps(reply)) == reply
