"""Calls with deadlines through every kind of executor: who has begun leaves a file, and nobody else does."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from pipeframe_async import ConfigError, Overloaded, PipeFrame, PipelineEngine

pytestmark = pytest.mark.process

PATIENCE = 20.0


class Held(PipelineEngine[str, str]):
    """A record leaves a file as it begins. One that is called `held…` goes on until there is a file `let go`."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.steps = [self.hold]

    def hold(self, record: str) -> tuple[str, bool]:
        (self.place / record).touch()
        until = time.monotonic() + PATIENCE
        while record.startswith("held") and not (self.place / "let go").exists() and time.monotonic() < until:
            time.sleep(0.002)
        return record, True


def a_process_pool() -> Executor:
    return ProcessPoolExecutor(1, mp_context=get_context("forkserver"))


KINDS: dict[str, str | Callable[[], Executor]] = {
    "processes": "processes",
    "threads": "threads",
    "auto": "auto",
    "a lent pool of threads": lambda: ThreadPoolExecutor(1),
    "a lent pool of processes": a_process_pool,
}


@contextmanager
def executor(kind: str) -> Iterator[Any]:
    """A name, or a pool that is shut down at the end."""
    made = KINDS[kind]
    if isinstance(made, str):
        yield made
        return
    with made() as pool:
        yield pool


async def begins(place: Path, record: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while not (place / record).exists():
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("kind", KINDS)
async def test_what_waits_past_its_deadline_is_never_begun_and_what_is_at_work_is_finished(
    kind: str, tmp_path: Path
) -> None:
    pipeline = Held(tmp_path)
    with executor(kind) as made:
        async with PipeFrame(1, executor=made) as frame:
            assert await frame.call(pipeline, "first") == "first"
            at_work = asyncio.create_task(frame.call(pipeline, "held", deadline=PATIENCE))
            await begins(tmp_path, "held")
            late = [asyncio.create_task(frame.call(pipeline, f"late {n}", deadline=0.1)) for n in range(3)]
            for error in await asyncio.gather(*late, return_exceptions=True):
                assert isinstance(error, Overloaded)
                assert error.retry_after >= 0.1
            patient = asyncio.create_task(frame.call(pipeline, "patient", deadline=PATIENCE))
            (tmp_path / "let go").touch()
            assert await at_work == "held"
            assert await patient == "patient"
    assert sorted(os.listdir(tmp_path)) == ["first", "held", "let go", "patient"]


def slow(record: int) -> tuple[int, bool]:
    time.sleep(0.2)
    return record, True


class Slow(PipelineEngine[int, int]):
    steps = (slow,)


async def test_with_the_loop_for_a_lane_what_is_late_when_it_is_free_is_not_begun() -> None:
    """Nobody has told the loop that time is up: it was busy with the first one."""
    async with PipeFrame(executor="inline") as frame:
        came = await asyncio.gather(*(frame.call(Slow, n, deadline=0.1) for n in range(3)), return_exceptions=True)
    assert came[0] == 0
    assert [type(one) for one in came[1:]] == [Overloaded, Overloaded]


def short(record: int) -> tuple[int, bool]:
    time.sleep(0.002)
    return record, True


async def test_calls_are_answered_while_a_run_has_all_workers(tmp_path: Path) -> None:
    """The run goes on for as long as nobody has let it go; calls have their turn between its batches."""
    pipeline = Held(tmp_path)

    class Endless(PipelineEngine[int, int]):
        source = "stream"
        timeout = None
        steps = (short,)

        def feed(self) -> Iterator[int]:
            while not (tmp_path / "let go").exists():
                yield 1

    async with PipeFrame(1, buffer_size=50) as frame:
        run = asyncio.create_task(frame.run(Endless))
        async with asyncio.timeout(PATIENCE):
            while frame.stats().delivered < 20:
                await asyncio.sleep(0.01)
        for number in range(20):
            assert await frame.call(pipeline, f"{number}", deadline=PATIENCE) == f"{number}"
        assert await frame.call(pipeline, "bulk", deadline=PATIENCE, bulk=True) == "bulk"
        (tmp_path / "let go").touch()
        assert (await run).ended_by == "exhausted"


@pytest.mark.parametrize("deadline", [0, -1, True, "1", float("nan"), float("inf")])
async def test_a_wrong_deadline_is_refused_with_its_value(deadline: Any, tmp_path: Path) -> None:
    async with PipeFrame(executor="inline") as frame:
        with pytest.raises(ConfigError, match=r"deadline=.*: must be a number of seconds above 0"):
            await frame.call(Held(tmp_path), "a", deadline=deadline)
        bulk: Any = "yes"
        with pytest.raises(ConfigError, match=r"bulk='yes': must be True or False"):
            await frame.call(Held(tmp_path), "a", bulk=bulk)


def test_threads_are_told_too(tmp_path: Path) -> None:
    pipeline = Held(tmp_path)
    with PipeFrame(1, call_queue=1).portal() as portal, ThreadPoolExecutor(1) as threads:
        assert portal.call(pipeline, "first", deadline=PATIENCE, bulk=True) == "first"
        at_work = threads.submit(portal.call, pipeline, "held")
        while not (tmp_path / "held").exists():
            time.sleep(0.005)
        with pytest.raises(Overloaded, match="was not begun"):
            portal.call(pipeline, "late", deadline=0.1)
        (tmp_path / "let go").touch()
        assert at_work.result(PATIENCE) == "held"
    assert not (tmp_path / "late").exists()
