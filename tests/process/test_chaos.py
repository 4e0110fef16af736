"""20,000 records, 40 of them faulty, a random worker killed every 40 ms: nobody is lost, doubled or wrongly blamed."""

from __future__ import annotations

import pytest

from pipeframe_async.testing import procfs

pytest.importorskip("resource", reason="the faults are those of a POSIX system")

from tests.process import poison
from tests.process.chaos import Figures, Sample, chaos

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not procfs.AVAILABLE, reason="looks for workers in /proc"),
]

RECORDS = 20_000


async def test_under_fire_every_good_record_arrives_once_and_every_bad_one_is_found() -> None:
    figures = await chaos(
        RECORDS, poison_each=4, lanes=4, kill_every=0.04, seconds_each=0.0003, batch_size=6, seed=20_000
    )
    print(figures)
    assert figures.kills >= 40, figures
    assert (figures.lost, figures.duplicates, figures.disordered, figures.innocents) == (0, 0, 0, ()), figures
    assert (figures.found, figures.poison, figures.mistaken) == (40, 40, ()), figures
    assert figures.share <= 0.03, figures


async def test_under_fire_a_mixed_chain_loses_nobody_either() -> None:
    figures = await chaos(
        5_000, poison_each=1, lanes=3, kill_every=0.06, seconds_each=0.0003, batch_size=6, seed=5_000, mixed=True
    )
    print(figures)
    assert figures.kills >= 10, figures
    assert (figures.lost, figures.duplicates, figures.disordered, figures.innocents) == (0, 0, 0, ()), figures
    assert (figures.found, figures.poison, figures.mistaken) == (10, 10, ()), figures


def test_the_poison_is_of_ten_kinds_that_end_in_every_way() -> None:
    assert len(poison.KINDS) == 10
    assert poison.DOES.keys() | poison.MAKES.keys() == poison.KINDS.keys()
    assert {kind for kinds in poison.KINDS.values() for kind in kinds} == {
        "raised",
        "unpicklable",
        "crashed",
        "timeout",
    }


def test_growth_is_what_the_slope_after_the_first_quarter_adds() -> None:
    def figures(*rss: float) -> Figures:
        samples = tuple(
            Sample(seconds=float(i), delivered=0, kills=0, restarts=0, rss=mib) for i, mib in enumerate(rss)
        )
        return Figures(1, 0, 0, 0, float(len(rss) - 1), 0, 0, 0, (), 0, (), 0, samples, {})

    assert figures(10, 30, 50, 50, 50, 50, 50, 50, 50).growth == 0.0
    assert figures(0, 0, 2, 3, 4, 5, 6, 7, 8).growth == pytest.approx(6.0)
