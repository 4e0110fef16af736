"""The books of a run, as values and as a table."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeframe_async.report import RunReport, _short, duration
from pipeframe_async.stats import StepReport

STEPS = (
    StepReport("parse", "worker", 1_234_567, 12.5, 10.1e-6, 9e-6, 45e-6, 2.5e-3),
    StepReport("price_of_all_orders", "loop", 9, 0.0021, 233e-6, 250e-9, 1.25, 3725.0),
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 ns"),
        (850e-9, "850 ns"),
        (1e-6, "1.0 µs"),
        (12.5e-6, "12.5 µs"),
        (3.2e-3, "3.20 ms"),
        (1.0, "1.00 s"),
        (1.75, "1.75 s"),
        (119.5, "119.50 s"),
        (120, "2 min 00 s"),
        (125.9, "2 min 05 s"),
        (7_265, "121 min 05 s"),
    ],
)
def test_durations_are_printed_as_a_person_reads_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@given(st.floats(1e-9, 119.0))
@example(0.999_999)
@example(0.000_999_999)
@example(999.9e-9)
def test_a_duration_is_printed_near_its_value_and_in_the_unit_that_fits(seconds: float) -> None:
    number, unit = duration(seconds).split()
    scale = {"ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1.0}[unit]
    assert float(number) * scale == pytest.approx(seconds, rel=0.06, abs=0.6e-9)
    assert float(number) < 1_000


def test_a_report_prints_how_it_ended_its_books_and_its_steps() -> None:
    report = RunReport(
        fed=1_234_567,
        delivered=1_234_000,
        failed=567,
        elapsed=12.5,
        ended_by="idle",
        steps=STEPS,
        bottleneck="Bottleneck: the feed.",
    )
    head, books, header, *steps, last = str(report).splitlines()
    assert head == "idle after 12.50 s · 98,765 records/s"
    assert books == "fed 1,234,567 · delivered 1,234,000 · failed 567"
    assert header.split() == ["step", "where", "calls", "total", "mean", "p50", "p99", "max"]
    assert [" ".join(row.split()) for row in steps] == [
        "parse worker 1234567 12.5s 10.1µs 9.00µs 45.0µs 2.50ms",
        "price_of_all_orders",
        "loop 9 2.10ms 233µs 250ns 1.25s 1h02m",
    ]
    assert {len(line) for line in (header, steps[0], steps[2])} == {60}
    assert last == "Bottleneck: the feed."


def test_in_a_notebook_the_report_is_a_table() -> None:
    html = RunReport(
        fed=9, delivered=9, steps=(StepReport("<b>", "worker", 9, 1.0, 0.1, 0.1, 0.1, 0.2),), bottleneck="a & b"
    )
    shown = html._repr_html_()
    assert "fed 9 · delivered 9 · failed 0</p>" in shown
    seen = RunReport(fed=1, delivered=1, ack_errors=2, setup=3.0)._repr_html_()
    assert "ack errors 2" in seen
    assert seen.endswith("<p>loading the steps and setup took 3.00 s in a worker</p>")
    assert "<td>&lt;b&gt;</td><td>worker</td><td>9</td>" in shown
    assert shown.endswith("<p>a &amp; b</p>")
    assert RunReport()._repr_html_() == "<p><b>exhausted</b> after 0 ns · nothing was fed</p>"


def test_many_counts_are_in_several_lines_that_fit() -> None:
    counted = RunReport(fed=1_000_000, emitted=9_000_000, delivered=7_500_000, filtered=1_500_000, failed=1_000_000)
    _, *books = str(counted).splitlines()
    assert books == [
        "fed 1,000,000 · emitted 9,000,000 · delivered 7,500,000",
        "filtered 1,500,000 · failed 1,000,000",
    ]


def test_setup_that_takes_long_is_spoken_of() -> None:
    assert "setup took 2.50 s in a worker" in str(RunReport(setup=2.5))
    assert "setup" not in str(RunReport(setup=0.02))


@given(st.floats(0, 3.5e6))
@example(0.999_999)
@example(9.995e-6)
@example(99.95e-3)
@example(99.999)
def test_a_duration_in_the_table_fits_its_column(seconds: float) -> None:
    assert len(_short(seconds)) <= 6


def test_a_report_prints_what_is_zero_only_where_that_is_good_to_know() -> None:
    books = str(RunReport(elapsed=1.0)).splitlines()[1]
    assert books == "fed 0 · delivered 0 · failed 0"


@pytest.mark.parametrize(
    "name", ["emitted", "bypassed", "filtered", "aborted", "retried", "re_executed", "worker_restarts"]
)
def test_a_report_prints_what_is_not_zero(name: str) -> None:
    counters: dict[str, Any] = {name: 1_000}
    assert f"{name.replace('_', ' ')} 1,000" in str(RunReport(**counters))


def test_its_repr_is_one_short_line() -> None:
    report = RunReport(fed=5_000, delivered=4_999, failed=1, elapsed=2.0, ended_by="stopped")
    assert repr(report) == "<RunReport stopped after 2.00 s: fed 5,000, delivered 4,999, failed 1>"


def test_a_report_of_a_run_that_took_no_time_is_printed_too() -> None:
    assert str(RunReport(fed=5)) == "exhausted after 0 ns · 0 records/s\nfed 5 · delivered 0 · failed 0"


@given(st.integers(0, 10**9), st.floats(0, 1e7), st.text(max_size=20))
def test_any_report_prints(count: int, seconds: float, name: str) -> None:
    step = StepReport(name, "worker", count, seconds, seconds, seconds, seconds)
    assert f"fed {count:,}" in str(RunReport(fed=count, elapsed=seconds, steps=(step,)))


def test_a_report_has_the_names_it_promises() -> None:
    promised = {"fed", "delivered", "bypassed", "filtered", "failed", "aborted", "retried", "re_executed"}
    promised |= {"worker_restarts", "elapsed", "ended_by", "steps", "bottleneck"}
    assert promised <= set(RunReport.__dataclass_fields__)
    assert {"name", "where", "calls", "seconds", "mean", "p50", "p99", "max", "slowest"} == set(
        StepReport.__dataclass_fields__
    )
