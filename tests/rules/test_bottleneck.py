"""What bounded a run, as a sentence."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeframe_async._rules.bottleneck import Usage, bottleneck
from pipeframe_async.stats import StepReport

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
        (
            replace(QUIET, work=2.0, feeding=9.0),
            "the feed, at work or waiting for its source for 90% of the run; the workers were busy for 10%",
        ),
        (
            replace(QUIET, setup=8.0, starting=7.0),
            "loading the steps and setup, which took 8.00 s in a worker; a warm frame does it once",
        ),
        (replace(QUIET, setup=6.5, starting=7.0), "starting the workers, 7.00 s; a warm frame keeps them"),
        (replace(QUIET, sleeping=9.0), "waiting for the next attempt of records that failed, 9.00 s"),
        (
            replace(QUIET, answering=9.0, feeding=1.0),
            "acks and nacks, which had 90%",
        ),
        (replace(QUIET, answering=8.0, feeding=9.0), "the feed, at work"),
        (replace(QUIET, lost=9.0), "workers that died or were ended over a record, 9.00 s of work that was lost"),
        (
            replace(QUIET, work=5.0, feeding=3.0, loop=1.0),
            "nothing alone: the feed 30%, the workers 25%, the event loop 10% of the run.",
        ),
        (replace(QUIET, burying=8.0, delivering=1.0), "dead_letter, at work for 90%"),
        (
            replace(QUIET, work=10.0, feeding=3.0),
            "the steps, most of all 'price', which had records for 1.0 of 2 workers",
        ),
        (replace(QUIET, work=10.0, setup=5.0), "nothing alone: the workers 50%, loading steps and setup 50%, "),
        (replace(QUIET, loop=0.1), "; on_progress, or others on this loop or in these workers, had the rest"),
        (replace(QUIET, elapsed=0.19), "too short a run to tell, 190.00 ms"),
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
    assert "the feed" in bottleneck(replace(QUIET, work=2.0, moving=1.5, worked=0.5, feeding=9.0), STEPS)


def test_moving_records_is_mentioned_where_it_cost_more_than_the_steps_and_something_else_bounded_the_run() -> None:
    said = bottleneck(replace(QUIET, work=3.0, moving=4.0, worked=1.0, feeding=7.0), STEPS)
    assert said.startswith("Bottleneck: the feed")
    assert "took 4.0 times as long as the steps (4.00 s, steps 1.00 s)" in said


def test_what_was_run_beside_the_loop_is_said_with_its_reason() -> None:
    beside = replace(QUIET, moving=1.2, worked=0.4, beside=0.9, beside_work=8.0, may_move=True)
    assert bottleneck(beside, STEPS) == (
        "Bottleneck: the steps, at work beside the loop for 80% of it. 90% of the records were run in a thread beside "
        "the loop: moving one to a worker and back took 3.0 times as long as the steps."
    )


def test_what_was_run_in_threads_without_a_gil_is_said_with_what_was_found() -> None:
    there = replace(QUIET, threads=2, threaded=0.9, threads_work=16.0, slower=0.53, may_move=True)
    assert bottleneck(there, STEPS) == (
        "Bottleneck: the steps, at work in 2 threads of this process for 80% of the run. 90% of the records were run "
        "in 2 threads of this process, without a GIL: a record was measured to take 0.53 times as long there as before."
    )


def test_what_was_tried_in_threads_and_found_to_be_slower_is_said_too() -> None:
    back = replace(QUIET, work=16.0, workers=2, threads=2, threaded=0.004, threads_work=0.2, slower=3.42, may_move=True)
    assert bottleneck(back, STEPS).endswith(
        " 1% of the records were run in 2 threads of this process, without a GIL: a record was measured to take 3.4 "
        "times as long there as before."
    )
    short = replace(back, slower=None)
    assert bottleneck(short, STEPS).endswith("without a GIL: too few to tell how long they take there.")


def test_one_record_that_took_most_of_the_run_is_named_with_its_place() -> None:
    slow = replace(step("price", 9.5), p99=0.02, max=9.0, slowest=60)
    said = bottleneck(replace(QUIET, work=10.0), [STEPS[0], slow])
    assert said == (
        "Bottleneck: one record, at feed position 60: step 'price' took 9.00 s over it, 90% of the run; "
        "p99 is 20.00 ms."
    )
    for other in (replace(slow, calls=3), replace(slow, max=5.0), replace(slow, slowest=None)):
        assert "one record" not in bottleneck(replace(QUIET, work=10.0), [STEPS[0], other])
    assert "one record" not in bottleneck(replace(QUIET, elapsed=0.1), [replace(slow, max=0.09)])


def test_async_steps_that_had_few_records_are_named_with_how_many() -> None:
    awaits = replace(step("fetch", 40.0), where="loop")
    usage = replace(QUIET, workers=0, awaiting=0.625, concurrency=64)
    assert "'fetch', which had records for 4.0 of async_concurrency=64 places" in bottleneck(usage, [awaits])


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
