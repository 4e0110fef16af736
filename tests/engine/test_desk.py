"""The desk alone, with runs that are fakes: which pipeline has one, when it begins and when it goes."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from pipeframe_async import PipelineEngine, StateError
from pipeframe_async._engine.calls import Calls
from pipeframe_async._engine.desk import MOST_OPEN, Desk
from pipeframe_async._engine.run import Run
from pipeframe_async._engine.settling.answer import Answer
from pipeframe_async.plan import Plan
from tests.engine.harness import Through, delivered

pytestmark = pytest.mark.virtual_clock


class EchoRun:
    """A run that hands each record back after a second; `error` ends it."""

    def __init__(self, plan: Plan, calls: Calls) -> None:
        self.plan = plan
        self.stopping = False
        self.error: Exception | None = None
        self._calls = calls
        self._end = asyncio.Event()
        self._fed = 0
        calls.join(settle=self._settle, withdraw=lambda position: None, position=lambda: self._fed)

    def _settle(self, answer: Answer) -> None: ...

    async def execute(self) -> None:
        feeding = asyncio.ensure_future(self._feed())
        await self._end.wait()
        feeding.cancel()
        await asyncio.wait([feeding])
        if self.error is not None:
            raise self.error

    async def _feed(self) -> None:
        async for record in self._calls.feed():
            position, self._fed = self._fed, self._fed + 1
            await asyncio.sleep(1)
            await self._calls.take([delivered(position, record)])

    def stop(self) -> None:
        self.stopping = True
        self._end.set()


class Bench:
    """A desk, the runs it began and those that are over."""

    def __init__(self) -> None:
        self.runs: list[EchoRun] = []
        self.over: list[Any] = []
        self.desk = Desk(self._begin, self.over.append)

    def _begin(self, plan: Plan, calls: Calls) -> Run:
        self.runs.append(EchoRun(plan, calls))
        return cast(Run, self.runs[-1])

    async def closed(self) -> None:
        for run in self.runs:
            run.stop()
        await self.desk.ended()


async def test_a_pipeline_has_one_run_that_begins_with_its_first_call() -> None:
    bench, pipeline = Bench(), Through()
    assert bench.runs == []
    assert [await bench.desk.call(pipeline, record) for record in (1, 2, 3)] == [1, 2, 3]
    assert len(bench.runs) == 1
    await bench.closed()
    assert bench.over == bench.runs


async def test_each_pipeline_has_a_run_of_its_own_also_of_the_same_class() -> None:
    bench, pipelines = Bench(), [Through(), Through()]
    await asyncio.gather(*(bench.desk.call(pipeline, 1) for pipeline in pipelines))
    assert len(bench.runs) == 2
    await bench.closed()


async def test_calls_use_no_feed_sink_or_hook_and_never_run_dry_or_give_up() -> None:
    class Everything(PipelineEngine[int, int]):
        steps = (lambda record: (record, True),)
        timeout = 5.0
        max_failures = 3

        async def sink(self, records: list[int]) -> None: ...
        async def dead_letter(self, failures: list[Any]) -> None: ...
        async def on_progress(self, watermark: int) -> None: ...

    bench = Bench()
    assert await bench.desk.call(Everything, 1) == 1
    plan = bench.runs[0].plan
    assert (plan.source, plan.timeout, plan.max_failures, plan.order) == ("stream", None, None, "completion")
    assert (plan.sink, plan.dead_letter, plan.on_progress) == (None, None, None)
    await bench.closed()


async def test_order_by_key_is_kept_for_calls_too() -> None:
    bench = Bench()

    def key(record: int) -> int:
        return record

    await bench.desk.call(Through(order=key), 1)
    assert callable(bench.runs[0].plan.order)
    await bench.closed()


async def test_a_run_that_is_stopping_is_followed_by_another() -> None:
    bench, pipeline = Bench(), Through()
    await bench.desk.call(pipeline, 1)
    bench.runs[0].stop()
    assert await bench.desk.call(pipeline, 2) == 2
    assert len(bench.runs) == 2
    await bench.closed()


async def test_when_a_run_fails_whoever_waits_is_told_and_the_next_call_begins_anew() -> None:
    bench, pipeline = Bench(), Through()
    call = asyncio.ensure_future(bench.desk.call(pipeline, 1))
    await asyncio.sleep(0.5)
    bench.runs[0].error = StateError("torn")
    bench.runs[0].stop()
    with pytest.raises(StateError, match="torn"):
        await call
    bench.runs[0].stopping = False  # that it has ended is enough
    assert await bench.desk.call(pipeline, 2) == 2
    assert len(bench.runs) == 2
    await bench.closed()


async def test_of_pipelines_that_nobody_calls_the_least_used_are_closed() -> None:
    bench, first = Bench(), Through()
    pipelines = [Through() for _ in range(MOST_OPEN)]
    await bench.desk.call(first, 0)
    for pipeline in pipelines:
        await bench.desk.call(pipeline, 0)
    assert [run.stopping for run in bench.runs] == [True] + [False] * MOST_OPEN
    await bench.closed()


async def test_a_pipeline_that_somebody_waits_for_is_not_closed() -> None:
    bench = Bench()
    calls = [bench.desk.call(Through(), record) for record in range(MOST_OPEN + 1)]
    came = await asyncio.gather(*calls, return_exceptions=True)
    stopping = [run.stopping for run in bench.runs]
    await bench.closed()
    for error in came:
        if isinstance(error, BaseException):
            raise error
    assert came == list(range(MOST_OPEN + 1))
    assert not any(stopping)


async def test_waiting_for_the_end_where_nothing_runs_takes_no_time() -> None:
    await Bench().desk.ended()
