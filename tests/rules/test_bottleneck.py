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
    said = bottleneck(Usage(elapsed, workers, work, loop, delivering, taking), STEPS)
    assert said.count("Bottleneck") == (elapsed > 0)
    shares = [int(word.rstrip("%")) for word in said.replace(";", "").replace(".", "").split() if word.endswith("%")]
    assert all(share <= 100 for share in shares)
