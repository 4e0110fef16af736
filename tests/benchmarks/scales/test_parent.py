"""The parent's time for a batch is parted from that for its records."""

from __future__ import annotations

import pytest

from benchmarks.scales.parent import cost_of


def test_what_a_batch_costs_is_parted_from_what_its_records_cost() -> None:
    rows = [
        {"records": 1_000, "batches": 1_000 / size, "cpu_a_batch": {"median": 100e-6 + 200e-9 * size}}
        for size in (1, 100, 1_000)
    ]
    batch, record = cost_of(rows)
    assert batch == pytest.approx(100e-6, rel=0.01)
    assert record == pytest.approx(200e-9)
