"""The parts of a run, made and joined: which there are for which pipeline, and whom they wait for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pipeframe_async import DROP
from pipeframe_async._engine.calls import Calls
from pipeframe_async._engine.lanes.batch import Batch
from pipeframe_async._engine.lanes.workforce import Workforce
from pipeframe_async._engine.settling.answer import Answer
from pipeframe_async._engine.wiring import Limits, Organs, Ways, wired
from pipeframe_async.plan import feed_of, plan_of
from pipeframe_async.testing import FakeExecutor
from tests.engine.harness import Kept, Stream, Through, a_run, delivered, passing

pytestmark = pytest.mark.virtual_clock


async def awaited(record: Any) -> tuple[Any, bool]:
    return record, True


def parts_of(
    pipeline: Through, executor: FakeExecutor | None = None, *, streaming: bool = False, calls: Calls | None = None
) -> Organs:
    """The parts of a run that nobody executes."""
    plan = plan_of(pipeline)
    ways = Ways(dried=lambda: None, tripped=lambda: None)
    workforce = Workforce(executor or FakeExecutor())
    feed, limits = feed_of(plan.pipeline, []), Limits(10, 1000, 1.0)
    return wired(plan, feed, workforce, limits, ways, streaming=streaming, calls=calls, job=None)


def closed(parts: Organs) -> None:
    """Coroutines that nobody awaits are closed, threads end."""
    for hook in parts.hooks.there:
        hook.close()
    parts.stall.end()


async def serving(parts: Organs) -> list[str]:
    names = []
    for name, work in parts.serving():
        names.append(name)
        work.close()
    return names


async def test_each_run_of_steps_is_a_stage_in_order() -> None:
    parts = parts_of(Through(steps=[passing, passing, awaited, passing]))
    assert [stage.on_the_loop for stage in parts.stages] == [False, True, False]
    assert [len(stage.clocks) for stage in parts.stages] == [2, 1, 1]
    assert parts.def_stages == [parts.stages[0], parts.stages[2]]
    assert parts.async_stages == [parts.stages[1]]
    closed(parts)


async def test_each_lane_is_served_by_a_task_a_slot_and_each_async_stage_by_one() -> None:
    parts = parts_of(Through(steps=[passing, awaited]), FakeExecutor(2, slots=3))
    assert await serving(parts) == ["steps-awaited", *["slot"] * 6]
    closed(parts)


async def test_a_chain_of_async_steps_has_no_lane_served() -> None:
    parts = parts_of(Through(steps=[awaited]))
    assert await serving(parts) == ["steps-awaited"]
    closed(parts)


async def test_a_hook_is_there_where_the_pipeline_has_it() -> None:
    async def hook(values: Any) -> None: ...

    parts = parts_of(Through())
    assert (parts.hooks.there, parts.watermark) == ([], None)
    closed(parts)
    parts = parts_of(Through(sink=hook, dead_letter=hook, on_progress=hook))
    assert parts.hooks.there == [*parts.hooks]
    assert parts.watermark is not None
    closed(parts)


async def test_who_iterates_takes_the_place_of_the_sink() -> None:
    async def hook(values: Any) -> None: ...

    parts = parts_of(Through(sink=hook, dead_letter=hook), streaming=True)
    assert parts.hooks.sink is None
    assert parts.hooks.dead_letter is not None
    closed(parts)


async def test_answers_leave_in_the_order_that_is_asked_for_where_anybody_could_tell() -> None:
    async def hook(values: Any) -> None: ...

    for knobs, streaming, early in (
        ({}, True, 0),
        ({"sink": hook}, False, 0),
        ({"dead_letter": hook}, False, 0),
        ({"order": "completion"}, True, 1),
        ({}, False, 1),  # nobody takes them
    ):
        parts = parts_of(Through(**knobs), streaming=streaming)
        parts.collect.add(delivered(1, "second"))
        assert parts.collect.more is bool(early), knobs
        closed(parts)


class Answered:
    """A consumer's view of a run: the results of all answers that were collected."""

    def __init__(self, parts: Organs) -> None:
        self.results: list[Any] = []
        self._collect = parts.collect.add
        parts.journeys._collect = self

    def __call__(self, answer: Answer) -> None:
        self.results += answer.results
        self._collect(answer)


@pytest.mark.parametrize(("consumer", "kept"), [("nobody", []), ("sink", ["a"]), ("stream", ["a"])])
async def test_results_are_kept_only_where_somebody_takes_them(consumer: str, kept: list[str]) -> None:
    pipeline = (Kept if consumer == "sink" else Stream)(["a"], steps=[awaited])
    run = a_run(pipeline, streaming=consumer == "stream")
    answered = Answered(run.organs)
    task = asyncio.ensure_future(run.execute())
    if consumer == "stream":
        assert await anext(run.results) == "a"
    await task
    assert answered.results == kept


@pytest.mark.parametrize("order", ["input", "completion", lambda record: 0], ids=["input", "completion", "by key"])
async def test_records_go_by_the_stretch_where_nobody_has_to_tell_them_out_of_band(order: Any) -> None:
    executor = FakeExecutor(1, delay=0.01)
    run = a_run(Kept(range(10), order=order), executor)
    batches: list[Batch] = []
    (stage,) = run.organs.def_stages
    hand_on = stage.hand_on

    def noted(batch: Batch, answer: Answer | None) -> None:
        batches.append(batch)
        hand_on(batch, answer)

    stage.hand_on = noted  # type: ignore[method-assign]
    await run.execute()
    assert {bool(batch.parts) for batch in batches} == {callable(order)}


async def test_records_that_are_called_go_one_by_one() -> None:
    calls = Calls(fans_out=False)
    parts = parts_of(Through(), calls=calls)
    parts.backlog.records += ["a", "b"]
    stage = parts.def_stages[0]
    batch = stage.cut(0, idle=True, idle_workers=2, workers=2)
    assert batch is not None
    assert (batch.first, len(batch.parts)) == (-1, batch.count)
    closed(parts)


# Whom it waits for.


async def test_a_new_run_waits_for_its_feed_and_one_without_work_for_nobody() -> None:
    parts = parts_of(Through())
    assert parts.waits_for() == "the feed"
    parts.backlog.end()
    assert parts.waits_for() == ""
    closed(parts)


async def test_a_run_that_has_records_and_no_lane_at_work_waits_for_nobody_which_is_a_stall() -> None:
    parts = parts_of(Through())
    parts.backlog.records.append("a")
    parts.backlog.note()
    assert parts.waits_for() == ""
    closed(parts)


async def test_a_batch_feed_is_waited_for_whatever_it_has_handed_over() -> None:
    parts = parts_of(Through(source="batch"))
    parts.backlog.records.append("a")
    parts.backlog.note()
    assert parts.waits_for() == "the feed"
    closed(parts)


async def slow(record: Any) -> Any:
    await asyncio.sleep(5)
    return record, True


def filtered(record: Any) -> Any:
    return DROP


@pytest.mark.parametrize(
    ("pipeline", "executor", "whom"),
    [
        (lambda: Kept([1]), lambda: FakeExecutor(1, start_seconds=5.0), "a lane"),
        (lambda: Kept([1]), lambda: FakeExecutor(1, delay=5.0), "a lane"),
        (lambda: Kept([1], steps=[slow]), FakeExecutor, "an async step"),
        (lambda: Kept([1], slow=5.0), FakeExecutor, "a hook"),
        (lambda: Kept([5.0]), FakeExecutor, "the feed"),
    ],
    ids=["a lane that starts", "a lane", "an async step", "a hook", "the feed"],
)
async def test_a_run_says_whom_it_waits_for(pipeline: Any, executor: Any, whom: str) -> None:
    run = a_run(pipeline(), executor())
    task = asyncio.ensure_future(run.execute())
    await asyncio.sleep(2)
    assert run.organs.waits_for() == whom
    await task


async def test_a_run_whose_consumer_takes_nothing_waits_for_it() -> None:
    run = a_run(Stream([1]), streaming=True)
    task = asyncio.ensure_future(run.execute())
    await asyncio.sleep(2)
    assert run.organs.waits_for() == "the consumer"
    assert await anext(run.results) == 1
    await task


async def test_filtered_records_are_nobodys_to_wait_for() -> None:
    run = a_run(Stream([1], steps=[filtered]), streaming=True)
    report = await run.execute()
    assert (report.filtered, run.organs.waits_for()) == (1, "")
