"""What bounded a run, as a sentence."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeframe_async._rules.bottleneck import Usage, bottleneck
from pipeframe_async.report import StepReport

QUIET = Usage(elapsed=10.0, workers=2, work=0.0, loop=0.0, delivering=0.0, taking=0.0)


def step(name: str, seconds: float, calls: int = 100) -> StepReport:
    return StepReport(name, "worker", calls, seconds, seconds / max(1, calls), 0.0, 0.0)


STEPS = [step("parse", 4.0), step("price", 12.0)]


@pytest.mark.parametrize(
    ("usage", "sentence"),
    [
        (replace(QUIET, work=16.0), "the workers, busy for 80% of the run; step 'price' takes 75% of their time"),
        (replace(QUIET, delivering=9.0), "the sink, at work for 90%"),
        (replace(QUIET, loop=9.0), "the event loop"),
        (replace(QUIET, taking=9.0), "the consumer, at work with results for 90%"),
        (replace(QUIET, work=2.0), "the feed; the workers were busy for 10%"),
        (replace(QUIET, work=16.0, loop=9.0, delivering=9.0, taking=9.0), "the workers"),
    ],
)
def test_the_sentence_names_what_was_busiest(usage: Usage, sentence: str) -> None:
    said = bottleneck(usage, STEPS)
    assert said.startswith("Bottleneck: ")
    assert sentence in said


def test_where_moving_records_cost_more_than_the_steps_the_sentence_says_so_and_what_to_do() -> None:
    said = bottleneck(replace(QUIET, work=16.0, moving=12.0, worked=4.0), STEPS)
    assert said == (
        "Bottleneck: moving records to the workers and back, which took 3.0 times as long as the steps "
        '(12.00 s, steps 4.00 s); executor="auto" or a plain loop saves that.'
    )
    assert "auto" not in bottleneck(replace(QUIET, work=16.0, moving=12.0, worked=4.0, may_move=True), STEPS)


def test_moving_records_is_not_blamed_where_the_steps_cost_more_or_somebody_else_was_busy() -> None:
    assert "the workers" in bottleneck(replace(QUIET, work=16.0, moving=4.0, worked=12.0), STEPS)
    assert "the sink" in bottleneck(replace(QUIET, work=2.0, moving=1.5, worked=0.5, delivering=9.0), STEPS)
    assert "the feed" in bottleneck(replace(QUIET, work=2.0, moving=1.5, worked=0.5), STEPS)


def test_moving_records_is_mentioned_where_it_cost_more_than_the_steps_and_something_else_bounded_the_run() -> None:
    said = bottleneck(replace(QUIET, work=3.0, moving=4.0, worked=1.0), STEPS)
    assert said.startswith("Bottleneck: the feed")
    assert "took 4.0 times as long as the steps (4.00 s, steps 1.00 s)" in said


def test_what_was_run_beside_the_loop_is_said_with_its_reason() -> None:
    beside = replace(QUIET, moving=1.2, worked=0.4, beside=0.9, beside_work=8.0, may_move=True)
    assert bottleneck(beside, STEPS) == (
        "Bottleneck: the steps, at work beside the loop for 80% of it. 90% of the records were run in a thread beside "
        "the loop: moving one to a worker and back took 3.0 times as long as the steps."
    )


def test_a_run_without_calls_has_no_bottleneck() -> None:
    assert bottleneck(QUIET, [step("parse", 0.0, calls=0)]) == ""
    assert bottleneck(QUIET, []) == ""


def test_a_run_that_took_no_time_has_no_bottleneck() -> None:
    assert bottleneck(replace(QUIET, elapsed=0.0), STEPS) == ""


def test_workers_that_were_busy_with_steps_too_short_to_measure_are_named_all_the_same() -> None:
    assert "step 'parse' takes 0%" in bottleneck(replace(QUIET, work=20.0), [step("parse", 0.0)])


@given(*[st.floats(0, 1e6)] * 5, st.integers(1, 64))
def test_whatever_was_measured_it_is_one_sentence_without_shares_above_the_whole(
    elapsed: float, work: float, loop: float, delivering: float, taking: float, workers: int
) -> None:
    said = bottleneck(Usage(elapsed, loop, delivering, taking, workers, work), STEPS)
    assert said.count("Bottleneck") == (elapsed > 0)
    shares = [int(word.rstrip("%")) for word in said.replace(";", "").replace(".", "").split() if word.endswith("%")]
    assert all(share <= 100 for share in shares)
