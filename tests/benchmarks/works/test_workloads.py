"""What is expected of a work is what its steps do, cut into chunks or not."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from benchmarks.works import cpu as work_cpu
from benchmarks.works import lines as work_lines
from benchmarks.works import trivial as work
from benchmarks.works.workload import Chunks, Workload, added_up, all_through, count_through

WORKLOADS = {
    "trivial": (work.TRIVIAL, 2_000),
    "lines": (work_lines.LINES, 2_345),
    "even": (work_cpu.even_work(1e-6), 100),
    "skewed": (work_cpu.skewed_work(1e-6, 1e-4), 500),
}


@pytest.mark.parametrize("name", WORKLOADS)
def test_what_is_expected_is_what_the_steps_do(name: str) -> None:
    workload, records = WORKLOADS[name]
    before = workload.total()
    results = [_stepped(workload, record) for record in workload.feed(records)]
    assert workload.look(results) == workload.expected(records)._replace(in_order=True)
    assert workload.total() - before == workload.expected(records).checksum


@pytest.mark.parametrize("name", WORKLOADS)
async def test_both_feeds_are_the_same(name: str) -> None:
    workload, _ = WORKLOADS[name]
    assert [record async for record in workload.async_feed(25)] == list(workload.feed(25))


@pytest.mark.parametrize("name", WORKLOADS)
def test_chunks_by_hand_do_what_the_steps_do(name: str) -> None:
    workload, records = WORKLOADS[name]
    chunks = Chunks(workload.feed, records, 64)
    parts = [count_through(workload.through, workload.total, chunk) for chunk in chunks]
    assert len(parts) == len(chunks)
    assert added_up(parts) == workload.expected(records)
    results = [result for chunk in chunks for result in all_through(workload.through, chunk)]
    assert results == [_stepped(workload, record) for record in workload.feed(records)]


def _stepped(workload: Workload, record: Any) -> Any:
    for step in workload.steps:
        record, keep_going = step(record)
        assert keep_going
    return record


def test_results_out_of_order_are_seen() -> None:
    assert work.TRIVIAL.look([2, 4, 6]).in_order is True
    assert work.TRIVIAL.look([2, 6, 4]).in_order is False
    assert work.TRIVIAL.look([2, 2]).in_order is False


def test_lines_are_about_two_hundred_bytes() -> None:
    lengths = [len(line) for line in work_lines.feed(1_000)]
    assert 180 <= min(lengths) <= max(lengths) <= 220


def test_one_record_in_a_hundred_is_dear_and_not_each_hundredth() -> None:
    dear = [record for record in range(8_000) if work_cpu.is_dear(record)]
    assert [sum(record < n for record in dear) for n in (80, 2_000, 8_000)] == [1, 20, 80]
    assert len({after - before for before, after in pairwise(dear)}) > 40
