"""The blocking front: threads share one frame, errors are theirs, and nobody is left waiting."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pipeframe_async import PipeFrame, PipelineEngine, StateError, StepError, WorkerLost
from pipeframe_async.portal import Portal


def inverse(n: float) -> Any:
    return os.getpid() if n == -1 else 1 / n, True


class Inverse(PipelineEngine[float, float]):
    steps = (inverse,)


class Counted(Inverse):
    feed = (1, 2, 4)

    def __init__(self) -> None:
        self.taken: list[float] = []

    def sink(self, results: list[float]) -> None:
        self.taken += results


def slow(seconds: float) -> Any:
    time.sleep(seconds)
    return seconds, True


class Slow(PipelineEngine[float, float]):
    steps = (slow,)


def test_threads_share_one_frame_and_its_workers() -> None:
    with PipeFrame(1).portal() as portal, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: portal.call(Inverse, n), range(1, 50)))
        assert answers == [1 / n for n in range(1, 50)]
        assert len(set(pool.map(lambda _: portal.call(Inverse, -1), range(8)))) == 1
        with pytest.raises(StepError, match="division by zero") as caught:
            portal.call(Inverse, 0)
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
        assert portal.run(pipeline := Counted()).delivered == 3
        assert pipeline.taken == [1, 0.5, 0.25]
        assert portal.stats().delivered >= 3
    assert not [thread for thread in threading.enumerate() if thread.name == "pipeframe-portal"]


def test_who_waits_no_longer_gives_up_its_place() -> None:
    with PipeFrame(1).portal() as portal:
        portal.ready(Slow)
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            portal.call(Slow, 60.0, timeout=0.2)
        assert portal.call(Slow, 0.0) == 0.0  # its worker was ended over it
        assert time.monotonic() - started < 30


def test_it_is_used_inside_its_block_and_once() -> None:
    portal = PipeFrame(1).portal()
    with pytest.raises(StateError, match=r"not open yet: use it inside `with frame\.portal\(\) as portal`"):
        portal.call(Inverse, 1)
    with portal:
        pass
    with pytest.raises(StateError, match="not open any more"):
        portal.call(Inverse, 1)
    portal.__exit__(None, None, None)  # again: nothing
    with pytest.raises(StateError, match="is open already, or was"):
        portal.__enter__()


async def test_it_does_not_block_a_loop() -> None:
    def use() -> None:
        with PipeFrame(1).portal() as portal:

            async def wrong() -> Any:
                return portal.call(Inverse, 1)

            with pytest.raises(StateError, match="an event loop runs in this thread: await the frame itself"):
                asyncio.run(wrong())

    await asyncio.to_thread(use)


def test_a_frame_that_cannot_be_opened_says_so() -> None:
    frame = PipeFrame(1)
    with frame.portal(), pytest.raises(StateError, match="is open already"), frame.portal():
        pass


def test_a_run_is_stopped_from_another_thread() -> None:
    class Endless(Inverse):
        source, timeout = "stream", None

        def feed(self) -> Any:
            while True:
                yield 1.0

    with PipeFrame(1).portal() as portal, ThreadPoolExecutor(1) as pool:
        running = pool.submit(portal.run, Endless)
        while portal.stats().delivered < 10:
            time.sleep(0.01)
        portal.stop(Slow)  # another one: this goes on
        before = portal.stats().delivered
        while portal.stats().delivered == before:
            time.sleep(0.01)
        portal.stop(Endless)
        assert running.result(30).ended_by == "stopped"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_is_told_to_make_one_of_its_own() -> None:
    with PipeFrame(1).portal() as portal:
        portal.call(Inverse, 1)
        if (child := os.fork()) == 0:
            try:
                portal.call(Inverse, 1, timeout=5)
            except StateError as error:
                os._exit(0 if "it was forked" in str(error) else 2)
            except BaseException:
                os._exit(3)
            os._exit(4)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert portal.call(Inverse, 2) == 0.5


class DiesInSetup(PipelineEngine[Any, Any]):
    steps = (inverse,)

    def setup(self) -> None:
        os._exit(3)


class RaisesInSetup(PipelineEngine[Any, Any]):
    steps = (inverse,)

    def setup(self) -> None:
        raise OSError("no model")


class Loads(PipelineEngine[Any, Any]):
    """Leaves a file for each process that has set it up."""

    def __init__(self, directory: str) -> None:
        self.directory = directory

    def setup(self) -> None:
        with open(os.path.join(self.directory, str(os.getpid())), "x") as file:
            file.write("loaded")

    def where(self, record: Any) -> Any:
        return os.getpid(), True

    steps = (where,)


async def test_a_frame_is_ready_before_its_first_record(tmp_path: Any) -> None:
    async with PipeFrame(2) as frame:
        await frame.ready(pipeline := Loads(str(tmp_path)), Inverse)
        loaded = os.listdir(tmp_path)
        assert len(loaded) == 2
        assert str(await frame.call(pipeline, 1)) in loaded
        assert os.listdir(tmp_path) == loaded
        with pytest.raises(StepError, match="no model") as caught:
            await frame.ready(RaisesInSetup)
        assert isinstance(caught.value.__cause__, OSError)
        with pytest.raises(WorkerLost, match=r"died as it loaded a pipeline|gives up this pipeline"):
            await frame.ready(DiesInSetup)
        assert await frame.call(Inverse, 2) == 0.5
    with pytest.raises(StateError, match="not open: ready needs warm workers"):
        await frame.ready()


class SetUpForEver(Inverse):
    def setup(self) -> None:
        time.sleep(60)


async def test_a_frame_that_is_closed_waits_for_no_worker_to_be_ready() -> None:
    async with PipeFrame(2) as frame:
        await frame.ready()
        readying = [asyncio.create_task(frame.ready(SetUpForEver)) for _ in range(2)]
        await asyncio.sleep(0.1)
        left = time.monotonic()
    assert time.monotonic() - left < 10
    for ready in readying:
        with pytest.raises(StateError, match="closed before its workers were ready"):
            await ready


async def test_who_waits_no_longer_for_a_frame_to_be_ready_leaves_its_workers_to_others() -> None:
    async with PipeFrame(2) as frame:
        await frame.ready()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(frame.ready(SetUpForEver), 0.2)
        assert await asyncio.wait_for(frame.call(Inverse, 2), 20) == 0.5


@pytest.mark.parametrize("executor", ["inline", "threads", "auto"])
async def test_any_executor_can_be_made_ready(executor: Any) -> None:
    async with PipeFrame(2, executor=executor) as frame:
        await frame.ready(Inverse)
        with pytest.raises(StepError, match="no model"):
            await frame.ready(RaisesInSetup)
        assert await frame.call(Inverse, 2) == 0.5


class BadTeardown(Inverse):
    def teardown(self) -> None:
        raise OSError("the disk has gone")


def test_what_leaving_the_frame_raises_is_raised_where_the_portal_is_left() -> None:
    with pytest.raises(StepError, match="the disk has gone"), PipeFrame(1).portal() as portal:
        portal.call(BadTeardown, 1)


def test_threads_that_call_while_it_closes_are_answered() -> None:
    for _ in range(20):
        portal = PipeFrame(executor="inline").portal()

        def calls_on(portal: Portal = portal) -> None:
            while True:
                portal.call(Inverse, 1)

        with ThreadPoolExecutor(4) as pool:
            with portal:
                answers = [pool.submit(calls_on) for _ in range(4)]
                time.sleep(0.005)
            for answer in answers:
                assert isinstance(answer.exception(timeout=10), StateError)
