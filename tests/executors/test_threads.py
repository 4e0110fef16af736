"""Threads of this process as one lane: what runs where, and how they end, or do not."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator

import pytest

from pipeframe_async._worker import envelope
from pipeframe_async.contracts import Executor
from pipeframe_async.errors import StepError, WorkerLost
from pipeframe_async.executors.inline import CopiedChains
from pipeframe_async.executors.threads import ThreadsExecutor
from pipeframe_async.wire import ChainSpec, Reply


@pytest.fixture(autouse=True)
def chains_are_forgotten() -> Iterator[None]:
    yield
    envelope.forget()


class Waits:
    """A pipeline whose step waits until it is let go; says in which thread it ran."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.ran: list[str] = []
        self.said: list[str] = []

    def setup(self) -> None:
        self.said.append("setup")

    def teardown(self) -> None:
        self.said.append("teardown")

    def step(self, record: object) -> tuple[object, bool]:
        self.begun.set()
        assert self.go_on.wait(10)
        self.ran.append(threading.current_thread().name)
        return record, True


@pytest.fixture
def pipeline() -> Iterator[Waits]:
    pipeline = Waits()
    yield pipeline
    pipeline.go_on.set()


def running(executor: ThreadsExecutor, pipeline: Waits, *records: object) -> asyncio.Task[Reply]:
    chain = executor.load(ChainSpec(("step",), (pipeline.step,), pipeline))
    packed, _ = executor.codec.pack(records, "step")
    return asyncio.ensure_future(executor.lanes[0].run(chain, 0, packed, ship=True))  # type: ignore[arg-type]


async def begun(pipeline: Waits) -> None:
    assert await asyncio.to_thread(pipeline.begun.wait, 10)


async def test_batches_run_in_threads_of_its_own_as_many_at_a_time_as_were_said(pipeline: Waits) -> None:
    executor = ThreadsExecutor(2)
    as_contract: Executor = executor
    assert ([lane.workers for lane in as_contract.lanes], as_contract.where, executor.restarts) == ([1, 1], "thread", 0)
    batches = [running(executor, pipeline, n) for n in range(4)]
    await begun(pipeline)
    pipeline.go_on.set()
    assert sum([(await batch).delivered for batch in batches]) == 4
    assert {name[: len("pipeframe-step")] for name in pipeline.ran} == {"pipeframe-step"}
    await executor.close(kill=False, timeout=10)
    assert pipeline.said.count("teardown") == 4  # each load is a chain of its own


async def test_records_and_results_are_handed_over_as_they_are(pipeline: Waits) -> None:
    pipeline.go_on.set()
    record = [lambda: 1]  # nobody could pickle it
    executor = ThreadsExecutor(1)
    ((result,), _) = executor.codec.unpack(await running(executor, pipeline, record), "step")
    assert result is record
    await executor.close(kill=False, timeout=10)


async def test_chains_can_be_copies() -> None:
    seen: list[int] = []

    def step(record: int) -> tuple[int, bool]:
        seen.append(record)
        return record, True

    executor = ThreadsExecutor(1, chains=CopiedChains())
    chain = executor.load(ChainSpec(("step",), (step,), None))
    packed, _ = executor.codec.pack([1], "step")
    reply = await executor.lanes[0].run(chain, 0, packed, ship=True)
    assert isinstance(reply, Reply)
    assert (reply.delivered, seen) == (1, [])
    await executor.close(kill=False, timeout=10)


async def test_closing_waits_for_the_batches_at_work(pipeline: Waits) -> None:
    executor = ThreadsExecutor(1)
    batch = running(executor, pipeline, 1)
    await begun(pipeline)
    closing = asyncio.ensure_future(executor.close(kill=False, timeout=10))
    await asyncio.sleep(0)
    assert not closing.done()
    pipeline.go_on.set()
    await closing
    assert (await batch).delivered == 1
    assert pipeline.said == ["setup", "teardown"]


async def test_a_step_that_does_not_end_is_left_behind_with_a_warning(
    pipeline: Waits, caplog: pytest.LogCaptureFixture
) -> None:
    executor = ThreadsExecutor(1)
    batch = running(executor, pipeline, 1)
    await begun(pipeline)
    with caplog.at_level(logging.WARNING, "pipeframe_async"):
        await executor.close(kill=False, timeout=0.01)
    assert [record.getMessage() for record in caplog.records] == [
        "a step in a thread has not ended within 0.01 s and was left behind"
    ]
    pipeline.go_on.set()
    await batch


async def test_at_once_means_without_waiting_and_without_a_warning(
    pipeline: Waits, caplog: pytest.LogCaptureFixture
) -> None:
    executor = ThreadsExecutor(1)
    batch, waiting = running(executor, pipeline, 1), running(executor, pipeline, 2)
    await begun(pipeline)
    with caplog.at_level(logging.WARNING, "pipeframe_async"):
        await executor.close(kill=True, timeout=10)
    assert caplog.records == []
    pipeline.go_on.set()
    await batch
    with pytest.raises(WorkerLost, match="shut down"):
        await waiting
    assert len(pipeline.ran) == 1


async def test_a_teardown_that_raises_is_told() -> None:
    class Bad(Waits):
        def teardown(self) -> None:
            raise ValueError("no")

    executor, pipeline = ThreadsExecutor(1), Bad()
    pipeline.go_on.set()
    await running(executor, pipeline, 1)
    with pytest.raises(StepError, match="ValueError: no"):
        await executor.close(kill=False, timeout=10)
