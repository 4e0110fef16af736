"""When a worker has done enough."""

from __future__ import annotations

import pytest

from pipeframe_async._rules.wear import NO_WEAR, Wear
from pipeframe_async.wire import Reply, WireFailure


def failed(error_type: str) -> Reply:
    return Reply(1, failures=(WireFailure(0, 0, "raised", error_type, "", "", None),))


@pytest.mark.parametrize(
    ("most", "batches", "full"),
    [(None, 10**9, False), (1, 0, False), (1, 1, True), (3, 2, False), (3, 3, True), (3, 4, True)],
)
def test_a_worker_is_full_after_so_many_batches(most: int | None, batches: int, full: bool) -> None:
    assert Wear(max_batches=most).full(batches) is full


@pytest.mark.parametrize(
    ("most", "rss", "worn"),
    [(None, 2**60, False), (100, 0, False), (100, 100, False), (100, 101, True)],
)
def test_a_worker_is_worn_that_holds_more_than_it_may(most: int | None, rss: int, worn: bool) -> None:
    assert Wear(max_rss=most).worn(Reply(1, rss=rss)) is worn


@pytest.mark.parametrize(("error_type", "worn"), [("MemoryError", True), ("ValueError", False)])
@pytest.mark.parametrize("wear", [NO_WEAR, Wear(max_rss=100), Wear(max_batches=5)])
def test_a_worker_that_ran_out_of_memory_is_worn_whatever_is_said(wear: Wear, error_type: str, worn: bool) -> None:
    assert wear.worn(failed(error_type)) is worn


def test_where_nothing_is_said_workers_stay() -> None:
    assert not NO_WEAR.full(10**9)
    assert not NO_WEAR.worn(Reply(1, rss=2**60))
