"""Processes and a thread as one executor: what is there, and that both are ended. No process is started."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pipeframe_async._rules.wear import Wear
from pipeframe_async.contracts import Executor, Threaded
from pipeframe_async.executors import auto
from pipeframe_async.executors.auto import AutoExecutor
from pipeframe_async.executors.processes.lane import ProcessLane
from pipeframe_async.wire import ChainSpec, Live


class Place:
    """One of the two, and how it was closed."""

    restarts = 3

    def __init__(self, error: BaseException | None = None) -> None:
        self.closed: list[tuple[bool, float]] = []
        self._error = error

    async def close(self, *, kill: bool, timeout: float) -> None:
        await asyncio.sleep(0)
        self.closed.append((kill, timeout))
        if self._error is not None:
            raise self._error


async def test_records_go_to_processes_and_one_thread_is_beside_them() -> None:
    executor = AutoExecutor(3)
    as_contract: Executor = executor
    assert all(isinstance(lane, ProcessLane) for lane in as_contract.lanes)
    assert (len(as_contract.lanes), executor.where, executor.restarts) == (3, "worker", 0)
    assert executor.beside is not None
    (lane,) = executor.beside.lanes
    assert (lane.workers, executor.beside.where) == (1, "thread")
    await executor.close(kill=False, timeout=10)


async def test_without_a_gil_there_is_a_thread_for_each_worker_and_the_first_is_beside_the_loop() -> None:
    executor = AutoExecutor(3, gil=False)
    assert isinstance(executor, Threaded)
    assert [[lane.workers for lane in there.lanes] for there in executor.threads] == [[1], [1], [1]]
    assert executor.beside is executor.threads[0]
    await executor.close(kill=False, timeout=10)


async def test_with_one_there_is_none_but_the_one_beside_the_loop() -> None:
    executor = AutoExecutor(3, gil=True)
    assert executor.beside is not None
    assert executor.threads == ()
    await executor.close(kill=False, timeout=10)


async def test_whether_there_is_one_is_asked_when_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    for gil, threads in ((False, 2), (True, 0)):
        monkeypatch.setattr(auto, "gil_enabled", lambda gil=gil: gil)
        executor = AutoExecutor(2)
        assert len(executor.threads) == threads
        await executor.close(kill=False, timeout=10)


async def test_each_thread_has_a_copy_of_the_chain_to_itself() -> None:
    executor, spec = AutoExecutor(2, gil=False), ChainSpec(("int",), (int,), None)
    assert len({there.load(spec).key for there in executor.threads}) == 2
    await executor.close(kill=False, timeout=10)


async def test_records_are_bytes_for_the_processes_and_live_beside_the_loop() -> None:
    executor = AutoExecutor(1)
    assert executor.beside is not None
    assert not isinstance(executor.codec.pack([1], "step")[0].data, Live)
    assert isinstance(executor.beside.codec.pack([1], "step")[0].data, Live)
    await executor.close(kill=False, timeout=10)


async def test_a_chain_is_a_copy_in_both_places() -> None:
    executor, spec = AutoExecutor(1), ChainSpec(("int",), (int,), None)
    assert executor.beside is not None
    assert executor.load(spec).data == executor.beside.load(spec).data is not None
    await executor.close(kill=False, timeout=10)


@pytest.mark.parametrize("wear", [Wear(max_batches=5), Wear(max_rss=1000)])
async def test_where_workers_are_to_be_replaced_nothing_runs_beside_them(wear: Wear) -> None:
    executor = AutoExecutor(1, wear, gil=False)
    assert executor.beside is None
    assert executor.threads == ()
    await executor.close(kill=False, timeout=10)


def of(processes: Place, beside: Place) -> AutoExecutor:
    executor, places = AutoExecutor(0, gil=True), list[Any]([processes, beside])
    executor._processes, executor.beside = places
    return executor


async def test_all_threads_are_closed_once() -> None:
    processes, *threads = Place(), Place(), Place()
    executor = of(processes, threads[0])
    executor.threads = tuple[Any, ...](threads)
    await executor.close(kill=False, timeout=2.0)
    assert [place.closed for place in (processes, *threads)] == [[(False, 2.0)]] * 3


async def test_both_are_closed_alike() -> None:
    processes, beside = Place(), Place()
    executor = of(processes, beside)
    assert executor.restarts == 3
    await executor.close(kill=True, timeout=7.0)
    assert processes.closed == beside.closed == [(True, 7.0)]


@pytest.mark.parametrize("bad", [0, 1])
async def test_one_that_raises_does_not_keep_the_other_from_ending(bad: int) -> None:
    places = [Place(), Place()]
    places[bad] = Place(ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        await of(*places).close(kill=False, timeout=1.0)
    assert [len(place.closed) for place in places] == [1, 1]
