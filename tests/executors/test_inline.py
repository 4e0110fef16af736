"""The loop itself as a lane, and chains that stay in this process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from pipeframe_async._worker import codec, envelope
from pipeframe_async.contracts import Executor
from pipeframe_async.errors import StepError
from pipeframe_async.executors.inline import CopiedChains, InlineExecutor, InProcessChains
from pipeframe_async.wire import ChainRef, ChainSpec, Packed, Reply


@pytest.fixture(autouse=True)
def chains_are_forgotten() -> Iterator[None]:
    yield
    envelope.forget()


class Counter:
    """A pipeline that counts what comes by, and when it is set up and torn down."""

    def __init__(self, problem: str = "") -> None:
        self.seen: list[int] = []
        self.said: list[str] = []
        self.problem = problem

    def setup(self) -> None:
        self.said.append("setup")

    def teardown(self) -> None:
        self.said.append("teardown")
        if self.problem:
            raise ValueError(self.problem)

    def step(self, record: int) -> tuple[int, bool]:
        self.seen.append(record)
        return 2 * record, True

    steps = (step,)


def chain_of(pipeline: Counter, time_limit: float | None = None) -> ChainSpec:
    return ChainSpec(("step",), (pipeline.step,), pipeline, time_limit)


def work(chain: ChainRef, *records: int) -> Reply:
    return envelope.work(chain.key, chain.data, 0, codec.dumps(list(records)), True, None)


async def test_a_batch_is_run_on_the_loop_after_everybody_else_had_a_turn() -> None:
    executor, pipeline, turns = InlineExecutor(), Counter(), list[str]()
    chain = executor.load(chain_of(pipeline))
    packed, _ = executor.codec.pack([1, 2, 3], "step")
    asyncio.get_running_loop().call_soon(lambda: turns.append(f"seen: {pipeline.seen}"))
    reply = await executor.lanes[0].run(chain, 0, packed, ship=True)
    assert turns == ["seen: []"]
    assert pipeline.seen == [1, 2, 3]
    assert executor.codec.unpack(reply, "step") == ([2, 4, 6], {})
    await executor.close(kill=False, timeout=1)


async def test_it_is_one_lane_that_takes_one_batch_and_nothing_is_started() -> None:
    executor = InlineExecutor()
    as_contract: Executor = executor
    (lane,) = as_contract.lanes
    await lane.start()
    assert (lane.name, lane.workers, lane.slots, executor.restarts) == ("the event loop", 1, 1, 0)
    assert executor.where == "inline"


async def test_what_a_batch_is_a_part_of_is_not_run() -> None:
    executor, pipeline = InlineExecutor(), Counter()
    packed, _ = executor.codec.pack([1, 2, 3], "step")
    await executor.lanes[0].run(executor.load(chain_of(pipeline)), 0, packed.stretch(1, 2), ship=False)
    assert pipeline.seen == [2]


async def test_teardown_is_run_when_it_is_closed_and_once() -> None:
    executor, pipeline = InlineExecutor(), Counter()
    await executor.lanes[0].run(executor.load(chain_of(pipeline)), 0, Packed(1, codec.dumps([1])), ship=False)
    for _ in range(2):
        await executor.close(kill=False, timeout=1)
    assert pipeline.said == ["setup", "teardown"]


# Chains in this process.


def test_a_chain_in_this_process_works_on_the_programs_own_objects() -> None:
    pipeline = Counter()
    chain = InProcessChains().load(chain_of(pipeline))
    assert chain.data is None
    assert work(chain, 1).delivered == 1
    assert pipeline.seen == [1]


def test_each_load_is_a_chain_of_its_own() -> None:
    chains, pipeline = InProcessChains(), Counter()
    assert chains.load(chain_of(pipeline)).key != chains.load(chain_of(pipeline)).key


def test_all_are_torn_down_though_one_raises() -> None:
    chains, bad, good = InProcessChains(), Counter("no"), Counter()
    for pipeline in (bad, good):
        work(chains.load(chain_of(pipeline)), 1)
    with pytest.raises(StepError, match=r"teardown raised:\n(.|\n)*ValueError: no"):
        chains.close()
    assert good.said == ["setup", "teardown"]
    chains.close()


def test_chains_of_others_are_left_to_them() -> None:
    ours, theirs, pipeline = InProcessChains(), InProcessChains(), Counter()
    work(theirs.load(chain_of(pipeline)), 1)
    ours.close()
    assert pipeline.said == ["setup"]


# Chains as workers have them.


def test_a_copied_chain_leaves_the_programs_objects_alone() -> None:
    chains, pipeline = CopiedChains(), Counter()
    chain = chains.load(chain_of(pipeline))
    assert work(chain, 1, 2).delivered == 2
    chains.close()
    assert (pipeline.seen, pipeline.said) == ([], [])


def test_the_same_chain_is_copied_once_and_others_for_themselves() -> None:
    chains, pipeline = CopiedChains(), Counter()
    one, same = chains.load(chain_of(pipeline)), chains.load(chain_of(pipeline))
    pipeline.seen.append(5)
    assert one == same != chains.load(chain_of(pipeline))
    assert CopiedChains().load(chain_of(pipeline)).key != chains.load(chain_of(pipeline)).key


# Limits that cannot be kept.


@pytest.mark.parametrize("limit", [None, 0.5])
@pytest.mark.parametrize("chains", [InProcessChains, InlineExecutor])
def test_a_limit_that_cannot_be_kept_is_warned_of(
    chains: Any, limit: float | None, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "pipeframe_async"):
        chains().load(chain_of(Counter(), limit))
    warnings = [record.getMessage() for record in caplog.records]
    assert ["time_limit=0.5 is not kept in this process" in text for text in warnings] == [True] * (limit is not None)
