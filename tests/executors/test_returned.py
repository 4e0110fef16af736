"""What teardowns have returned is in the reports of the runs they were for, when workers have ended."""

from __future__ import annotations

import gc
import pickle
from typing import Any

import pytest

from pipeframe_async import DROP, PipeFrame, PipelineEngine, StepError, apply, pipeline
from pipeframe_async.executors.returned import Returned


class Total:
    """Of a program's own."""

    def __init__(self, total: int) -> None:
        self.total = total


class Sum(PipelineEngine[int, int]):
    """Each worker adds up what it is given."""

    feed = range(1000)

    def setup(self) -> None:
        self.total = 0

    def add(self, n: int) -> Any:
        self.total += n
        return DROP

    steps = (add,)

    def teardown(self) -> Total:
        return Total(self.total)


def unpicklable() -> Any:
    return lambda: 1


@pytest.mark.parametrize(
    "executor",
    [
        pytest.param("processes", marks=pytest.mark.process),
        pytest.param("auto", marks=pytest.mark.process),
        "threads",
        "inline",
    ],
)
async def test_a_report_has_what_the_teardown_of_each_worker_returned(executor: str) -> None:
    report = await PipeFrame(2, executor=executor).run(Sum())
    assert sum(total.total for total in report.teardowns) == sum(range(1000))
    assert 1 <= len(report.teardowns) <= 4


@pytest.mark.process
async def test_those_of_an_open_frame_are_there_when_it_is_left() -> None:
    async with PipeFrame(1) as frame:
        first = await frame.run(Sum())
        other = await frame.run(pipeline(apply(abs), teardown=dict), [1])
        second = await frame.run(Sum())
        assert first.teardowns == []
    assert [total.total for total in first.teardowns] == [2 * sum(range(1000))]  # its worker had both runs
    assert second.teardowns == first.teardowns
    assert other.teardowns == [{}]


async def test_without_a_teardown_there_is_nothing() -> None:
    assert (await PipeFrame(executor="inline").run(pipeline(apply(abs)), [1])).teardowns == []


@pytest.mark.process
async def test_a_value_that_cannot_be_sent_is_an_error_of_the_teardown() -> None:
    with pytest.raises(StepError, match=r"(?s)teardown raised in a worker.*unpicklable"):
        await PipeFrame(1).run(pipeline(apply(abs), teardown=unpicklable), [1])


def test_values_are_kept_by_chain() -> None:
    returned = Returned()
    first, second = returned.of("one"), returned.of("two")
    assert returned.pickled([("one", pickle.dumps(1)), ("two", pickle.dumps(2)), ("nobody's", pickle.dumps(4))]) == []
    returned.came("one", 3)
    assert (first, second, returned.of("nobody's")) == ([1, 3], [2], [])


def test_one_that_cannot_be_read_is_told_and_does_not_keep_the_others() -> None:
    returned = Returned()
    values = returned.of("one")
    (problem,) = returned.pickled([("one", b"no pickle"), ("one", pickle.dumps(2))])
    assert "UnpicklingError" in problem
    assert values == [2]


@pytest.mark.parametrize("executor", [pytest.param("processes", marks=pytest.mark.process), "threads", "inline"])
async def test_what_nobody_has_a_report_of_is_not_kept(executor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that makes a pipeline for each request, in a frame that is open for months."""
    made: list[Returned] = []
    begins = Returned.__init__

    def noted(self: Returned) -> None:
        begins(self)
        made.append(self)

    monkeypatch.setattr(Returned, "__init__", noted)
    async with PipeFrame(1, executor=executor) as frame:
        for _ in range(20):
            await frame.run(Sum(), range(3))
        kept = await frame.run(Sum(), range(3))
        gc.collect()  # a plan and its pipeline refer to each other
        assert sum(len(returned._lists) for returned in made) <= 3
    assert len(kept.teardowns) == 1
