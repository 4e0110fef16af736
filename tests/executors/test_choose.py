"""From the `executor=` knob to an executor: what is taken, what is refused, and how many workers that makes."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor as AnyExecutor
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from pipeframe_async._rules.wear import NO_WEAR, Wear
from pipeframe_async.contracts import Executor
from pipeframe_async.errors import ConfigError
from pipeframe_async.executors import choose, hosts
from pipeframe_async.executors.auto import AutoExecutor
from pipeframe_async.executors.cores import default_workers
from pipeframe_async.executors.dask import at
from pipeframe_async.executors.inline import InlineExecutor
from pipeframe_async.executors.lent import LentExecutor
from pipeframe_async.executors.processes.fleet import ProcessLanes
from pipeframe_async.executors.shared import SharedExecutor
from pipeframe_async.executors.threads import ThreadsExecutor
from pipeframe_async.testing import FakeExecutor


class Unsaid(AnyExecutor):
    """Does not say how many workers it has."""

    def submit(self, *args: Any, **kwargs: Any) -> Future[Any]:
        raise NotImplementedError


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(3) as pool:
        yield pool


# What is taken.


def test_where_nothing_is_said_there_are_processes() -> None:
    assert choose.check(None) == "processes"


@pytest.mark.parametrize("value", [*choose.NAMES, Unsaid(), FakeExecutor()])
def test_a_name_a_pool_and_an_executor_of_ours_are_taken_as_they_are(value: object) -> None:
    assert choose.check(value) is value


@pytest.mark.parametrize("value", ["", "Processes", 0, True, [], object(), ThreadPoolExecutor, FakeExecutor, {}])
def test_everything_else_is_refused_with_what_is_allowed(value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        choose.check(value)
    text = str(caught.value)
    assert repr(value) in text
    assert all(word in text for word in (*map(repr, choose.NAMES), "concurrent.futures.Executor", "contracts.Executor"))


def test_a_class_is_told_from_its_instances() -> None:
    with pytest.raises(ConfigError, match="pass an instance"):
        choose.check(FakeExecutor)


class Half:
    """An executor that was not finished."""

    where = "here"
    lanes = ()

    def load(self) -> None: ...


def test_what_an_unfinished_executor_lacks_is_named() -> None:
    with pytest.raises(ConfigError, match=r"lacks codec, restarts, beside, close$"):
        choose.check(Half())


# How many workers.


@pytest.mark.parametrize("count", [1, 7])
@pytest.mark.parametrize("kind", [*choose.NAMES, Unsaid()])
def test_as_many_workers_as_are_said(kind: choose.Kind, count: int) -> None:
    assert choose.workers(kind, count) == count


async def test_where_no_count_is_said_a_given_executor_says_it(pool: ThreadPoolExecutor) -> None:
    made = choose.make(pool, choose.workers(pool, None))
    assert sum(lane.workers for lane in made.lanes) == 3
    assert choose.workers(FakeExecutor(5), None) == 5
    assert choose.workers(Unsaid(), None) == default_workers()
    assert choose.workers("processes", None) == default_workers()


def test_the_workers_of_an_executor_of_ours_are_there_and_no_other_count_is_taken() -> None:
    assert choose.workers(FakeExecutor(5), 5) == 5
    with pytest.raises(ConfigError, match=r"cpu_count=4.*5 workers"):
        choose.workers(FakeExecutor(5), 4)


@pytest.mark.parametrize("count", [0, -1, True, 1.0, "2"])
@pytest.mark.parametrize("kind", ["processes", FakeExecutor(1)])
def test_what_is_no_count_is_refused(kind: choose.Kind, count: object) -> None:
    with pytest.raises(ConfigError, match=f"cpu_count={count!r}"):
        choose.workers(kind, count)


# When workers are replaced.


@pytest.mark.parametrize("kind", choose.OWN_PROCESSES)
def test_workers_of_our_own_are_replaced_as_is_said(kind: str) -> None:
    assert choose.wear(kind, 100, 5) == Wear(max_batches=5, max_rss=100)


@pytest.mark.parametrize("kind", ["threads", "inline", Unsaid(), FakeExecutor()])
def test_other_workers_cannot_be_replaced(kind: choose.Kind) -> None:
    assert choose.wear(kind, None, None) == NO_WEAR
    with pytest.raises(ConfigError, match="max_worker_rss=100: only"):
        choose.wear(kind, 100, None)
    with pytest.raises(ConfigError, match="max_worker_batches=5: only"):
        choose.wear(kind, None, 5)


@pytest.mark.parametrize("limit", [0, -1, True, 1.5, "1G"])
def test_a_limit_that_is_no_count_is_refused(limit: Any) -> None:
    with pytest.raises(ConfigError, match=f"max_worker_rss={limit!r}: must be"):
        choose.wear("processes", limit, None)


# What comes of it.


@pytest.mark.parametrize(
    ("kind", "made", "lanes", "workers"),
    [
        ("processes", ProcessLanes, 3, 3),
        ("auto", AutoExecutor, 3, 3),
        ("threads", ThreadsExecutor, 3, 3),
        ("inline", InlineExecutor, 1, 1),
        (Unsaid(), SharedExecutor, 3, 3),
        (FakeExecutor(4), LentExecutor, 4, 4),
    ],
)
async def test_each_kind_makes_its_executor_and_starts_nothing(
    kind: choose.Kind, made: type, lanes: int, workers: int
) -> None:
    executor: Executor = choose.make(kind, 3)
    assert type(executor) is made
    assert (len(executor.lanes), sum(lane.workers for lane in executor.lanes)) == (lanes, workers)
    assert executor.restarts == 0
    await executor.close(kill=False, timeout=1)


@pytest.mark.parametrize("kind", choose.OWN_PROCESSES)
def test_a_host_without_semaphores_is_told_before_anything_is_made(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_here() -> None:
        raise OSError("no")

    monkeypatch.setattr(hosts, "_make_one", none_here)
    with pytest.raises(ConfigError, match="semaphores"):
        choose.make(kind, 1)
    choose.make("inline", 1)  # which needs none


def test_a_cluster_has_as_many_workers_as_it_has_threads_unless_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at, "find_spec", lambda name: object())
    cluster = choose.check("dask://host:8786")
    assert cluster == at.Cluster(address="tcp://host:8786")
    assert (choose.workers(cluster, None), choose.workers(cluster, 7)) == (0, 7)
    assert choose.wear(cluster, None, 3) == Wear(max_batches=3)


def test_a_cluster_is_waited_for_as_long_as_is_said() -> None:
    lanes = pytest.importorskip("pipeframe_async.executors.dask.fleet", reason="no distributed is here")
    cluster = at.Cluster(address="tcp://host:8786")
    assert isinstance(made := choose.make(cluster, 0, NO_WEAR, 7.0), lanes.DaskLanes)
    assert made.worker_timeout == 7.0
