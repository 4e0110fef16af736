"""A sink that makes one value of all results."""

from __future__ import annotations

import asyncio
import operator
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeframe_async import (
    ConfigError,
    FeedError,
    PipeFrame,
    PipelineEngine,
    SinkError,
    StateError,
    apply,
    fold,
    pipeline,
    run,
)
from pipeframe_async.folding import Fold


def counted(counts: Counter[str], word: str) -> Counter[str]:
    counts[word] += 1
    return counts


def test_the_value_is_what_all_results_have_come_to() -> None:
    total = fold(operator.add, 100)
    assert total.value == 100
    run(pipeline(apply(abs), sink=total), [1, -2, 3], executor="inline")
    assert total.value == 106


def test_each_run_begins_anew_also_where_the_value_is_changed_in_place() -> None:
    words = fold(counted, Counter[str]())
    for _ in range(2):
        run(pipeline(apply(str.lower), sink=words), ["To", "be", "to"], executor="inline")
        assert words.value == {"to": 2, "be": 1}


def test_results_come_in_the_order_of_the_feed() -> None:
    text = fold(operator.add, "")
    run(pipeline(apply(str), sink=text, batch_size=2), range(10), executor="threads", cpu_count=2)
    assert text.value == "0123456789"


def test_one_that_raises_is_an_error_of_the_sink() -> None:
    with pytest.raises(SinkError, match="unsupported operand"):
        run(pipeline(apply(str), sink=fold(operator.add, 0)), [1], executor="inline")


def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        fold(0, operator.add)  # type: ignore[arg-type]
    assert str(caught.value) == "fold(0): needs a function of a value and a result, which returns the next value"


def test_a_function_that_would_be_awaited_is_refused() -> None:
    async def add(value: int, result: int) -> int:
        return value + result

    with pytest.raises(ConfigError, match=r"fold\(.*add.*\): nobody awaits it"):
        fold(add, 0)  # type: ignore[arg-type]


async def test_one_fold_in_two_runs_at_once_is_refused() -> None:
    total = fold(operator.add, 0)
    made = pipeline(apply(abs), sink=total)

    async def slow() -> Any:
        for n in range(3):
            await asyncio.sleep(0.01)
            yield n

    frame = PipeFrame(executor="inline")
    found = await asyncio.gather(frame.run(made, slow()), frame.run(made, slow()), return_exceptions=True)
    assert [type(one) for one in found if isinstance(one, Exception)] == [StateError]


def test_a_job_that_goes_on_has_the_value_of_its_earlier_life(tmp_path: Path) -> None:
    class Job(PipelineEngine[int, int]):
        source = "stream"
        steps = (apply(abs),)
        sink = fold(operator.add, 0)
        checkpoint = str(tmp_path / "job.state")

    lives = 0

    def feed() -> Iterator[int]:
        nonlocal lives
        lives += 1
        yield from range(5)
        if lives == 1:
            raise OSError("gone")
        yield from range(5, 8)

    with pytest.raises(FeedError, match="gone"):
        run(Job, feed, executor="inline")
    assert Job.sink.value == 10
    Job.sink = fold(operator.add, 0)  # as in another process
    report = run(Job, feed, executor="inline")
    assert (report.skipped, Job.sink.value) == (5, 28)


@pytest.mark.parametrize("value", [{1: 2}, (1, 2), {1}, Counter("ab"), {"words": Counter("ab")}, [Counter("ab")]])
def test_a_value_that_json_does_not_give_back_is_none_for_a_job(value: Any) -> None:
    with pytest.raises(TypeError) as caught:
        Fold(operator.add, value).position()
    assert str(caught.value) == f"in a job with a checkpoint a fold needs a value that JSON gives back, not {value!r}"


@pytest.mark.parametrize("value", [None, 3, {"a": [1, 2]}])
def test_what_is_kept_of_a_job_is_the_value_as_it_was(value: Any) -> None:
    begun = fold(lambda _, result: result, 0)
    begun.write([value])
    kept = begun.position()
    if isinstance(value, dict):
        value["a"].append(3)
        value = {"a": [1, 2]}
    begun.restore(kept)
    assert begun.value == value


def test_a_job_begins_with_a_copy_of_the_initial_value() -> None:
    begun = fold(operator.iadd, [1])
    begun.restore(None)
    begun.write([[2]])
    assert begun.value == [1, 2]
    begun.restore(None)
    assert begun.value == [1]
