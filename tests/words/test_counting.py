"""`count`: where what a step counts goes, and what it does not take."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pipeframe_async import PipeFrame, PipelineEngine, count
from pipeframe_async.counting import MOST_NAMES, add, count_in, count_no_more


def test_outside_of_a_step_it_does_nothing() -> None:
    count("seen")


def test_it_goes_where_the_context_says_until_that_is_undone() -> None:
    counts: dict[str, int] = {}
    token = count_in(counts)
    count("seen")
    count("bytes", 100)
    count("seen", 2)
    count_no_more(token)
    count("seen")
    assert counts == {"seen": 3, "bytes": 100}


@pytest.mark.parametrize(
    ("name", "n"), [(1, 1), ("seen", 1.5), ("seen", "1"), (None, 1), ("seen", 2**63), ("seen", -(2**64))]
)
def test_anything_but_a_name_and_a_whole_number_is_refused(name: Any, n: Any) -> None:
    with pytest.raises(TypeError, match="takes a name and a whole number"):
        count(name, n)


def test_names_beyond_the_most_are_counted_together() -> None:
    counts: dict[str, int] = {}
    add(counts, {f"name {n}": 1 for n in range(MOST_NAMES + 5)})
    assert len(counts) == MOST_NAMES + 1
    assert counts[""] == 5
    add(counts, {"name 0": 1, "another": 1})
    assert (counts["name 0"], counts[""]) == (2, 6)


def seen(record: int) -> tuple[int, bool]:
    count("seen")
    if record % 10 == 0:
        count("tens", 10)
        raise ValueError(record)
    return record, True


async def awaited(record: int) -> tuple[int, bool]:
    await asyncio.sleep(0)
    count("awaited")
    return record, True


class Counted(PipelineEngine[int, int]):
    max_failures = None
    steps = (seen, awaited)

    async def feed(self) -> Any:
        for record in range(100):
            yield record


class Other(PipelineEngine[int, int]):
    steps = (awaited,)

    async def feed(self) -> Any:
        for record in range(7):
            yield record


@pytest.mark.process
@pytest.mark.parametrize("executor", ["processes", "threads", "inline"])
async def test_what_steps_count_is_in_the_report_and_the_stats_of_their_run(executor: str) -> None:
    frame = PipeFrame(2, executor=executor)
    async with frame:
        report, other = await asyncio.gather(frame.run(Counted), frame.run(Other))
        assert report.counters == {"seen": 100, "tens": 100, "awaited": 90}
        assert other.counters == {"awaited": 7}
        assert {run.pipeline: run.counts.counters for run in frame.stats().runs} == {
            "Counted": report.counters,
            "Other": other.counters,
        }
    assert "awaited 90 · seen 100 · tens 100" in str(report)
