"""`try_records`: what some records come to; nothing of the pipeline is used but its steps, and nothing is changed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from pipeframe_async import DROP, Checkpoint, Chunk, ConfigError, PipelineEngine, Retry, apply
from pipeframe_async.testing import try_records


def halve(record: int) -> Any:
    if record % 2:
        raise ValueError(f"{record} is odd")
    return record // 2, True


def not_two(record: int) -> Any:
    return DROP if record == 2 else (record, True)


class Halves(PipelineEngine[int, int]):
    steps = (halve, not_two)
    used: list[str] = []

    async def feed(self) -> AsyncIterator[int]:
        self.used.append("feed")
        yield 0

    async def sink(self, records: list[int]) -> None:
        self.used.append("sink")

    async def dead_letter(self, failures: Any) -> None:
        self.used.append("dead_letter")

    async def on_progress(self, watermark: int) -> None:
        self.used.append("on_progress")


async def test_results_and_failures_come_with_the_books() -> None:
    out = await try_records(Halves, [2, 3, 4, 6])
    assert out.results == [1, 3]
    assert [(failure.record, failure.step, failure.error_type) for failure in out.failures] == [
        (3, "halve", "ValueError")
    ]
    assert (out.report.fed, out.report.delivered, out.report.filtered, out.report.failed) == (4, 2, 1, 1)
    assert [step.name for step in out.report.steps] == ["halve", "not_two"]


async def test_the_pipelines_own_ends_are_not_used_nor_is_it_changed(tmp_path: Path) -> None:
    pipeline = Halves()
    pipeline.checkpoint = Checkpoint(tmp_path / "job.state")
    before = dict(vars(pipeline)), dict(vars(Halves))
    await try_records(pipeline, [2, 3])
    assert Halves.used == []
    assert (vars(pipeline), dict(vars(Halves))) == before
    assert os.listdir(tmp_path) == []


async def test_any_number_of_records_may_fail() -> None:
    out = await try_records(Halves, [1] * 500)
    assert len(out.failures) == 500


async def some() -> AsyncIterator[int | Chunk[int]]:
    yield 2
    yield Chunk([4, 6])


@pytest.mark.parametrize("make", [tuple, list, iter, lambda records: some, lambda records: some()])
async def test_records_may_be_any_form_of_feed(make: Any) -> None:
    out = await try_records(Doubles, make([2, 4, 6]))
    assert out.results == [4, 8, 12]


class Doubles(PipelineEngine[int, int]):
    """Its step is a method, which needs what `setup` has set."""

    def __init__(self) -> None:
        self.steps: Any = [self.double]  # bound to this one

    def setup(self) -> None:
        self.factor = 2

    def double(self, record: int) -> tuple[int, bool]:
        return self.factor * record, True


async def test_what_setup_sets_is_there_for_steps_that_are_methods() -> None:
    pipeline = Doubles()
    assert (await try_records(pipeline, [1, 2])).results == [2, 4]
    assert not hasattr(pipeline, "factor")


@pytest.mark.process
async def test_it_runs_in_workers_where_it_is_told_so() -> None:
    out = await try_records(Doubles, [1, 2], executor="processes", cpu_count=1)
    assert out.results == [2, 4]
    assert out.report.steps[0].where == "worker"


class Waits(PipelineEngine[int, int]):
    async def wait(self, record: int) -> tuple[int, bool]:
        await asyncio.sleep(0)
        return -record, True

    steps = (wait,)
    retry = Retry(2)


async def test_async_steps_run_on_the_loop() -> None:
    assert (await try_records(Waits, [1, 2])).results == [-1, -2]


class Fixed(PipelineEngine[int, int]):
    steps: Any = (apply(abs),)

    @property
    def sink(self) -> Any:
        return print


async def test_an_end_that_is_a_property_is_refused_with_the_remedy() -> None:
    with pytest.raises(ConfigError, match=r"Fixed\.sink is a property"):
        await try_records(Fixed, [1])
