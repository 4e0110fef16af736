"""Rates are compared with those of the same form."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmarks.asking.measure import Timing
from benchmarks.asking.rates import that_matter
from benchmarks.contestants.contestant import Contestant
from benchmarks.works import trivial as work


def contestant(run: Any, records: int = 100, **more: Any) -> Contestant:
    return Contestant("t", "a contestant", records, run, work.expected, **more)


def test_ratios_that_matter_compare_the_same_with_the_same() -> None:
    def timing(key: str, kind: str, form: str, seconds: float) -> Timing:
        who = replace(contestant(work.expected), key=key, label=key, kind=kind, form=form)
        return Timing(who, work.expected(100), seconds=[seconds], start_seconds=[0.0])

    found = that_matter(
        [
            timing("ours", "ours", "counts", 1.0),
            timing("ours_results", "ours", "results", 2.0),
            timing("slow", "pool", "counts", 4.0),
            timing("fast", "pool", "counts", 3.0),
            timing("back", "pool", "results", 5.0),
            timing("peer", "peer", "results", 8.0),
            timing("plain", "plain", "counts", 2.0),
        ]
    )
    assert [(r.over, r.under, r.ratio) for r in found] == [
        ("ours", "fast", 3.0),
        ("ours_results", "back", 2.5),
        ("ours_results", "peer", 4.0),
        ("ours", "plain", 2.0),
        ("ours", "plain", 1.0),
    ]
