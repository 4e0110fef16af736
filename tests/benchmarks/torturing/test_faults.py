"""A bad record in a batch cut by hand costs itself."""

from __future__ import annotations

from benchmarks.torturing.faults import BAD, each, fail


def test_a_bad_record_among_a_batch_cut_by_hand_costs_itself() -> None:
    (first, no_error), (nothing, error), last = each(fail, [7, BAD, 8])
    assert (first, no_error, last) == (7, None, (8, None))
    assert nothing is None
    assert isinstance(error, ValueError)
