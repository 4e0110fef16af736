"""May a batch go now, and how large: a table, each row a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from pipeframe_async._rules.batching import Sizer
from pipeframe_async._rules.cutting import how_many, may_go


@dataclass(frozen=True)
class Told:
    """Sizes as they are told here; `asked` of what is left, `room` of each record's bytes."""

    size: int = 10
    queueing: bool = True
    each: int = 1

    def worth_queueing(self, left: int | None, workers: int) -> bool:
        return self.queueing

    def cut(self, waiting: int, *, ended: bool, idle: int, workers: int, room_bytes: int) -> int:
        return min(self.size, waiting, max(0, room_bytes // self.each))


GOES, WAITS = True, False

IDLE: dict[str, Any] = {"ended": False, "paused": False, "idle": True, "idle_workers": 1, "workers": 2}
"""A lane with nothing to do asks, while the feed hands over records."""
AT_WORK: dict[str, Any] = {**IDLE, "idle": False, "idle_workers": 0}
"""A lane that has a batch already asks for the next, and no other is idle."""

ROWS: list[tuple[str, bool, int, dict[str, Any]]] = [
    ("nothing goes where nothing waits, whoever asks", WAITS, 0, {**IDLE, "ended": True, "paused": True}),
    ("a full batch goes to an idle lane", GOES, 10, IDLE),
    ("more than a full batch goes as well", GOES, 25, IDLE),
    # The documented reason: records of the feed are a turn of the loop apart, so less than a batch waits for the one
    # thing that is certain to come, the next record or the feed's pause; there is no linger timer.
    ("less than a batch waits while the feed hands over more, though a lane is idle", WAITS, 9, IDLE),
    ("less than a batch goes to an idle lane once the feed pauses", GOES, 9, {**IDLE, "paused": True}),
    ("a single record goes to an idle lane once the feed pauses", GOES, 1, {**IDLE, "paused": True}),
    ("the last records go, however few", GOES, 1, {**IDLE, "ended": True}),
    ("a full batch goes to a lane at work, to be at hand", GOES, 10, AT_WORK),
    ("less than a batch waits for a lane at work to be done, or for more", WAITS, 9, {**AT_WORK, "paused": True}),
    ("the last records go to a lane at work too", GOES, 9, {**AT_WORK, "ended": True}),
    ("a full batch is left to the lane that is idle", WAITS, 10, {**AT_WORK, "idle_workers": 1}),
    ("the last records are left to the lane that is idle", WAITS, 9, {**AT_WORK, "idle_workers": 1, "ended": True}),
]


@pytest.mark.parametrize(("sentence", "goes", "waiting", "how"), ROWS, ids=[row[0] for row in ROWS])
def test_a_batch_goes_or_waits(sentence: str, goes: bool, waiting: int, how: dict[str, Any]) -> None:
    assert may_go(Told(), waiting, **how) is goes, sentence


def test_a_batch_too_long_to_wait_inside_a_lane_goes_to_no_lane_at_work() -> None:
    assert not may_go(Told(queueing=False), 10, **AT_WORK)
    assert may_go(Told(queueing=False), 10, **IDLE)


def test_how_many_are_left_is_known_only_when_the_feed_has_ended() -> None:
    asked: list[tuple[int | None, int]] = []

    class Asked(Told):
        def worth_queueing(self, left: int | None, workers: int) -> bool:
            asked.append((left, workers))
            return True

    may_go(Asked(), 12, **AT_WORK)
    may_go(Asked(), 12, **{**AT_WORK, "ended": True})
    assert asked == [(None, 2), (12, 2)]


SIZES: list[tuple[str, int, int, dict[str, Any]]] = [
    ("a full batch where there is room for it", 10, 25, {}),
    ("all that waits where that is less", 4, 4, {}),
    ("as many as there are bytes for", 3, 25, {"room_bytes": 3}),
    ("none where there is no byte left and others will free some", 0, 25, {"room_bytes": 0}),
    ("none where replies have come back larger than there was room for", 0, 25, {"room_bytes": -5}),
    (
        "one where nothing is in flight that could free any, however large it may be",
        1,
        25,
        {"room_bytes": 0, "alone": True},
    ),
    ("no more than fit where one is alone and there is room", 10, 25, {"alone": True}),
]


@pytest.mark.parametrize(("sentence", "size", "waiting", "how"), SIZES, ids=[row[0] for row in SIZES])
def test_so_many_records_go(sentence: str, size: int, waiting: int, how: dict[str, Any]) -> None:
    room: dict[str, Any] = {"ended": False, "idle_workers": 1, "workers": 2, "room_bytes": 10**6, "alone": False}
    assert how_many(Told(), waiting, **{**room, **how}) == size, sentence


def test_what_it_is_told_of_the_feed_and_the_workers_is_what_the_sizes_are_asked_with() -> None:
    sizer = Sizer(fixed=None, capacity=1000, capacity_bytes=10**6, slots=2)
    sizer.packed(100, 100, 0.0)
    sizer.replied(100, 100, 0.001)
    how: dict[str, Any] = {"workers": 2, "room_bytes": 10**6, "alone": False}
    assert how_many(sizer, 400, ended=False, idle_workers=2, **how) == 200  # shared between those who are idle
    assert how_many(sizer, 800, ended=True, idle_workers=0, **how) == 200  # so that lanes finish together
