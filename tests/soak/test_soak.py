"""The soak as a test, and what its verdict says of figures that are not well."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeframe_async.testing import procfs

pytest.importorskip("resource", reason="the faults are those of a POSIX system")

from tests.process.chaos import Figures, Sample
from tests.soak.run import Soak, soak, verdict


@pytest.mark.soak
@pytest.mark.process
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not procfs.AVAILABLE, reason="looks for workers in /proc")
def test_a_million_records_and_thousands_of_kills_lose_nothing_and_leak_nothing() -> None:
    wanted = Soak()
    figures = soak(wanted, print)
    print(figures)
    assert not list(verdict(wanted, figures)), figures


WELL = Figures(
    records=1_000_000,
    poison=200,
    kills=2_500,
    restarts=2_900,
    seconds=100.0,
    lost=0,
    duplicates=0,
    disordered=0,
    innocents=(),
    found=200,
    mistaken=(),
    re_executed=5_000,
    samples=tuple(Sample(float(s), s * 10_000, s * 25, s * 29, 60.0) for s in range(101)),
    kinds={},
)


def test_good_figures_are_well() -> None:
    assert list(verdict(Soak(), WELL)) == []


@pytest.mark.parametrize(
    ("figures", "word"),
    [
        (replace(WELL, lost=1), "lost: 1"),
        (replace(WELL, duplicates=2), "duplicates: 2"),
        (replace(WELL, disordered=3), "disordered: 3"),
        (replace(WELL, innocents=("somebody",)), "innocents blamed: 1"),
        (replace(WELL, found=199), "poison found: 199 of 200"),
        (replace(WELL, mistaken=("a segfault ended as raised",)), "taken for something else"),
        (replace(WELL, kills=1_999), "only 1,999 kills"),
        (replace(WELL, re_executed=20_000), "re-executed 2.00%"),
        (replace(WELL, samples=tuple(replace(s, rss=60 + s.seconds) for s in WELL.samples)), "memory grew by 75.0 MiB"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_figure_that_is_not_well_is_named(figures: Figures, word: str) -> None:
    [problem] = verdict(Soak(), figures)
    assert word in problem
