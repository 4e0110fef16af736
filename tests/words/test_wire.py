"""What crosses the border: whose result is whose, and how many bytes it is."""

from __future__ import annotations

import pickle

from hypothesis import given
from hypothesis import strategies as st

from pipeframe_async.wire import Packed, Refusal, Reply, StepTimes, WireFailure, owners


@given(st.lists(st.integers(0, 4), max_size=30))
def test_each_result_belongs_to_the_record_it_was_made_of(results: list[int]) -> None:
    spans = {place: made for place, made in enumerate(results) if made != 1}
    belongs = owners(0, len(results), spans)
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


@given(st.lists(st.binary(max_size=5), min_size=1, max_size=10), st.data())
def test_a_part_is_the_records_between_two_places(records: list[bytes], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(records) - 1))
    stop = data.draw(st.integers(start + 1, len(records)))
    framed = Packed(len(records), tuple(records)).stretch(start, stop)
    assert (framed.records, framed.data, framed.span) == (stop - start, tuple(records[start:stop]), None)
    whole = Packed(len(records), pickle.dumps(records)).stretch(start, stop)
    assert (whole.records, whole.span) == (stop - start, (start, stop - start))
    assert whole.data == pickle.dumps(records)  # one pickle cannot be cut: the worker reads all and runs these


def test_a_part_of_a_part_counts_from_that() -> None:
    whole = Packed(6, b"123456")
    assert whole.stretch(2, 6).stretch(1, 3) == whole.stretch(3, 5)


def test_the_whole_of_one_pickle_is_a_part_of_it_too() -> None:
    assert Packed(3, b"123").span == (0, 3)
    assert Packed(3, b"123").stretch(0, 3) == Packed(3, b"123")


def test_a_reply_comes_back_equal() -> None:
    failure = WireFailure(1, 0, "raised", "ValueError", "bad", "Traceback", b"1")
    times = (StepTimes(2, 1, 500, (500,)),)
    for reply in (
        Reply(2, 1, (0,), 0, {1: 2}, b"12", {1: 0}, (failure,), times, 0.5, 0.4),
        Reply(0, refusal=Refusal("broken-chain", "no", "Traceback")),
    ):
        assert pickle.loads(pickle.dumps(reply)) == reply
