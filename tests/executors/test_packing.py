"""Records to bytes and replies to values: whole batch first, one by one where that fails."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeframe_async._worker import codec
from pipeframe_async.executors.packing import Packing
from pipeframe_async.failures import failure_of
from pipeframe_async.model import Failure
from pipeframe_async.wire import Packed, Reply
from tests.worker import hostile

CODEC = Packing()


def reply(results: bytes | tuple[bytes, ...] | None, **given: Any) -> Reply:
    return Reply(records=3, results=results, **given)


def test_records_that_pickle_go_as_one() -> None:
    packed, failures = CODEC.pack([1, "two", None], "parse")
    assert packed == Packed(3, codec.dumps([1, "two", None]))
    assert (packed.framed, packed.nbytes, failures) == (False, len(codec.dumps([1, "two", None])), {})


@pytest.mark.parametrize("kind", hostile.UNWRITABLE)
def test_a_record_that_has_no_pickle_is_a_failure_and_leaves_an_empty_frame_in_its_place(kind: str) -> None:
    bad = hostile.UNWRITABLE[kind]()
    packed, failures = CODEC.pack([1, bad, 2, bad], "parse")
    assert packed == Packed(4, (codec.dumps(1), b"", codec.dumps(2), b""))
    assert sorted(failures) == [1, 3]
    failure = failures[1]
    assert failure.record is bad
    assert (failure.step, failure.kind, failure.attempts) == ("parse", "unpicklable", 1)
    assert failure.error_type


def test_where_no_record_has_a_pickle_nothing_goes() -> None:
    packed, failures = CODEC.pack([lambda: None], "parse")
    assert (packed.records, packed.data, packed.framed, packed.nbytes) == (1, (b"",), True, 0)
    assert list(failures) == [0]


@given(st.lists(st.integers() | st.text(), max_size=20))
def test_frames_have_a_pickle_for_each_record(records: list[Any]) -> None:
    packed, failures = CODEC.pack_frames(records, "parse")
    assert isinstance(packed.data, tuple)
    assert [codec.loads(frame) for frame in packed.data] == records
    assert (packed.records, packed.framed, packed.nbytes) == (len(records), True, sum(map(len, packed.data)))
    assert failures == {}


def test_results_that_came_as_one_are_read_as_one() -> None:
    assert CODEC.unpack(reply(codec.dumps([1, 2, 3])), "price") == ([1, 2, 3], {})


def test_results_that_nobody_wanted_are_none() -> None:
    assert CODEC.unpack(reply(None, delivered=3), "price") == ([], {})


@pytest.mark.parametrize(("kind", "error"), [("ExitsWhenRead", SystemExit), ("RaisesWhenRead", OSError)])
def test_results_that_came_as_one_and_cannot_be_read_raise(kind: str, error: type[BaseException]) -> None:
    with pytest.raises(error):
        CODEC.unpack(reply(codec.dumps([1, hostile.UNREADABLE[kind]()])), "price")


@pytest.mark.parametrize(("kind", "error"), [("ExitsWhenRead", "SystemExit"), ("RaisesWhenRead", "OSError")])
def test_a_frame_that_cannot_be_read_is_a_failure_by_its_place(kind: str, error: str) -> None:
    frames = tuple(map(codec.dumps, [1, hostile.UNREADABLE[kind](), 3]))
    results, failures = CODEC.unpack(reply(frames), "price")
    assert results == [1, 3]
    assert list(failures) == [1]
    assert (failures[1].step, failures[1].kind, failures[1].error_type) == ("price", "unpicklable", error)


def test_failures_of_a_reply_have_their_step_by_name_and_their_record() -> None:
    sent = failure_of(2, 1, ValueError("bad"))._replace(record=codec.dumps({"n": 7}))
    ((place, failure),) = CODEC.failures(reply(None, failures=(sent,)), ["parse", "price"])
    assert place == 2
    assert failure == Failure({"n": 7}, "price", "raised", "ValueError", "bad", sent.traceback)


def test_a_failed_record_that_cannot_be_read_here_is_shown_as_its_bytes() -> None:
    data = codec.dumps(hostile.ExitsWhenRead())
    sent = failure_of(0, 0, OSError(), "unpicklable")._replace(record=data)
    ((_, failure),) = CODEC.failures(reply(None, failures=(sent,)), ["parse"])
    assert failure.record == data
