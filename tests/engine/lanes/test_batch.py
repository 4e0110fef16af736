"""A batch knows what was fed of each of its records, wherever they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from pipeframe_async._engine.journeys.frozen import Frozen
from pipeframe_async._engine.lanes.batch import Batch, Line
from pipeframe_async._engine.lanes.places import Place
from pipeframe_async._rules.journey import Journey, Part
from pipeframe_async.executors.packing import Packing
from pipeframe_async.wire import Packed

NO_LINE, NO_PLACE = cast(Line, None), cast(Place, None)  # nobody asks them here
RECORDS = ["a", "b", "c"]
FRAMES = Packing().pack_frames(RECORDS, "step")[0]


def a_batch(records: list[Any] | None, packed: Packed = FRAMES, parts: Sequence[Part] = ()) -> Batch:
    return Batch(0, NO_LINE, 0, packed, records, {}, NO_PLACE, parts=parts)


def test_it_counts_the_records_it_stands_for() -> None:
    assert a_batch(None).count == 3


def test_of_live_records_it_is_the_very_object() -> None:
    record = [1]
    assert a_batch([record, 2, 3]).as_fed(0) is record


def test_what_the_worker_sent_back_comes_first() -> None:
    assert a_batch(RECORDS).as_fed(1, sent="B") == "B"


def test_bytes_that_came_back_are_no_record_where_the_record_is_here() -> None:
    assert a_batch(RECORDS).as_fed(1, sent=b"B") == "b"


def test_bytes_that_came_back_are_all_there_is_of_a_record_from_disk() -> None:
    assert a_batch(None).as_fed(1, sent=b"B") == b"B"


def test_of_records_from_disk_it_is_their_bytes_unread() -> None:
    assert isinstance(FRAMES.data, tuple)
    assert a_batch(None).as_fed(2) == Frozen(FRAMES.data[2])


def test_of_parts_it_is_what_their_journeys_began_with() -> None:
    journey = Journey(7, "as fed")
    part = journey.start()
    part.value = "as it is now"
    assert a_batch(["as it is now"], parts=[part]).as_fed(0, sent="as it is now") == "as fed"
