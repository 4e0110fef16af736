"""A live stream comes at its times, and every record of it is back once."""

from __future__ import annotations

import pytest

from benchmarks.works.live import Live


def test_a_live_record_that_does_not_come_back_is_missed() -> None:
    with Live(3, 1_000) as live:
        for number in live.blocking():
            if number != 1:
                live.back(number)
        with pytest.raises(RuntimeError, match="of 3 records 2 are back"):
            live.delays(0)


def test_a_live_record_that_comes_back_twice_is_seen() -> None:
    with Live(2, 1_000) as live:
        for number in live.blocking():
            live.back(number)
        live.back(0)
        with pytest.raises(RuntimeError, match="3 times"):
            live.delays(0)


def test_a_live_record_counts_from_when_it_was_due() -> None:
    with Live(3, 1_000) as live:
        for number in live.blocking():
            live.back(number)
    live.came = [live.first + 0.5] * 3  # as if all were back at once
    assert live.delays(1) == pytest.approx([0.499, 0.498])


async def test_a_loop_reads_the_same_live_records_as_a_thread() -> None:
    with Live(5, 1_000) as live:
        assert [number async for number in live.arrivals()] == [0, 1, 2, 3, 4]
