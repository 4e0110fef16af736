"""`stats.py`: what is together what, of runs that go on at the same time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeframe_async.stats import RunStats, Stats, WorkerStats

COUNTER = st.integers(0, 10**6)
UNKNOWN = st.none() | COUNTER
COUNTED = st.dictionaries(st.sampled_from(["a", "b", "c"]), COUNTER)
STATS = st.builds(
    Stats, *[COUNTER] * 15, st.floats(0, 1e6), UNKNOWN, *[COUNTER] * 3, UNKNOWN, st.booleans(), COUNTED, *[COUNTER] * 3
)


@given(STATS, STATS)
def test_the_books_of_two_runs_together_are_their_sums_over_the_longer_time(one: Stats, other: Stats) -> None:
    both = one + other
    for name in set(Stats.__dataclass_fields__) - {"away", "counters", "runs", "before", "workers"}:
        mine, theirs = getattr(one, name), getattr(other, name)
        if name in ("total", "lag"):
            assert getattr(both, name) == (None if None in (mine, theirs) else mine + theirs)
        else:
            assert getattr(both, name) == (max(mine, theirs) if name == "elapsed" else mine + theirs)
    assert both.away == (one.away or other.away)
    assert sum(both.counters.values()) == sum(one.counters.values()) + sum(other.counters.values())


def test_runs_stay_apart_and_their_workers_are_the_same() -> None:
    worker = WorkerStats("lane 0", "idle")
    one = Stats(runs=(RunStats("One"),), workers=(worker,))
    both = one + Stats(runs=(RunStats("Other"),), workers=(worker,))
    assert [run.pipeline for run in both.runs] == ["One", "Other"]
    assert both.workers == (worker,)
