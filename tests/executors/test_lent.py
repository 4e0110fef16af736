"""An executor of our own contract that comes in by the front door: used as it is, and left open."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pipeframe_async import ConfigError, Failure, PipeFrame, PipelineEngine
from pipeframe_async.contracts import Executor
from pipeframe_async.executors.auto import AutoExecutor
from pipeframe_async.executors.lent import LANE_PARTS, MEMBERS, LentExecutor, missing
from pipeframe_async.testing import FakeExecutor


class Doubled(PipelineEngine[int, int]):
    """Tells when it is set up and torn down; 7 is bad."""

    source = "stream"

    def __init__(self) -> None:
        self.said: list[str] = []
        self.taken: list[int] = []
        self.failures: list[Failure[int]] = []

    def setup(self) -> None:
        self.said.append("setup")

    def teardown(self) -> None:
        self.said.append("teardown")

    def double(self, record: int) -> tuple[int, bool]:
        return 2 * record, True

    steps = (double,)

    async def sink(self, records: list[int]) -> None:
        self.taken += records

    async def dead_letter(self, failures: list[Failure[int]]) -> None:
        self.failures += failures


NUMBERS = list(range(100))


@pytest.mark.virtual_clock
async def test_a_pipeline_runs_on_fake_workers_that_its_frame_was_given() -> None:
    fake, pipeline = FakeExecutor(2), Doubled()
    report = await PipeFrame(executor=fake).run(pipeline, NUMBERS)
    assert pipeline.taken == [2 * n for n in NUMBERS]
    assert (report.delivered, report.failed) == (100, 0)
    assert sum(records for _, records in fake.batches) == 100
    assert report.steps[0].where == "fake"
    await fake.close(kill=False, timeout=1)


@pytest.mark.virtual_clock
async def test_who_made_it_closes_it() -> None:
    fake, pipeline = FakeExecutor(2), Doubled()
    await PipeFrame(executor=fake).run(pipeline, NUMBERS)
    async with PipeFrame(executor=fake) as frame:
        await frame.run(pipeline, NUMBERS)
    async with PipeFrame(executor=fake).stream(pipeline, NUMBERS) as results:
        await anext(aiter(results))
    assert pipeline.said.count("setup") >= 1
    assert "teardown" not in pipeline.said
    await fake.close(kill=False, timeout=1)
    assert pipeline.said.count("teardown") == pipeline.said.count("setup")


@pytest.mark.virtual_clock
async def test_its_deaths_are_those_of_workers() -> None:
    fake, pipeline = FakeExecutor(2, poison=lambda record: record == 7), Doubled()
    report = await PipeFrame(executor=fake).run(pipeline, NUMBERS)
    assert pipeline.taken == [2 * n for n in NUMBERS if n != 7]
    assert [(failure.record, failure.kind) for failure in pipeline.failures] == [(7, "crashed")]
    assert report.worker_restarts == fake.restarts >= 1
    await fake.close(kill=False, timeout=1)


async def test_a_lent_executor_is_the_other_in_all_but_its_end() -> None:
    fake = FakeExecutor(3, beside=FakeExecutor(1))
    lent: Executor = LentExecutor(fake)
    assert (lent.where, lent.lanes, lent.codec, lent.beside) == (fake.where, fake.lanes, fake.codec, fake.beside)
    fake.lanes[0].lives = 4
    assert lent.restarts == fake.restarts == 3


# What is missing.


def test_the_parts_are_those_of_the_contracts() -> None:
    assert MEMBERS == ("where", "lanes", "codec", "restarts", "beside", "load", "close")
    assert {"name", "workers", "slots", "start", "run"} <= set(LANE_PARTS)


def like(**other: Any) -> Any:
    """An executor with all parts, some of them as given."""
    lane = SimpleNamespace(**dict.fromkeys(LANE_PARTS))
    return SimpleNamespace(**{**dict.fromkeys(MEMBERS), "lanes": (lane,), **other})


def test_an_object_with_all_parts_lacks_none() -> None:
    assert missing(like()) == []
    assert missing(FakeExecutor()) == []


@pytest.mark.parametrize("part", MEMBERS)
def test_each_part_is_missed(part: str) -> None:
    executor = like()
    delattr(executor, part)
    assert missing(executor) == [part]


@pytest.mark.parametrize("part", LANE_PARTS)
def test_each_part_of_each_lane_is_missed(part: str) -> None:
    executor = like()
    other = SimpleNamespace(**dict.fromkeys(LANE_PARTS))
    delattr(other, part)
    executor.lanes += (other,)
    assert missing(executor) == [f"lanes[1].{part}"]


@pytest.mark.parametrize("lanes", [(), [], None, 3])
def test_an_executor_without_lanes_is_none(lanes: Any) -> None:
    assert missing(like(lanes=lanes)) == ["lanes, of which there must be one"]
    with pytest.raises(ConfigError, match="lacks lanes, of which"):
        PipeFrame(executor=like(lanes=lanes))


async def test_threads_that_it_has_are_lent_too_and_one_without_has_none() -> None:
    given = AutoExecutor(2, gil=False)
    assert [*LentExecutor(given).threads] == [*given.threads]
    assert [*LentExecutor(FakeExecutor()).threads] == []
    await given.close(kill=False, timeout=10)
