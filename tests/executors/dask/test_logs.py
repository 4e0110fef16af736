"""Steps log on a cluster: handled here as if it had been logged here, in the middle of a long batch too."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from pipeframe_async import PipeFrame
from tests.executors.dask.cluster import DaskCluster
from tests.executors.dask.pipelines import Kept
from tests.process.test_logs import Kept as KeptLines

pytestmark = pytest.mark.one_loop

LOGGER = "steps on a cluster"


def says(number: int) -> tuple[int, bool]:
    logging.getLogger(LOGGER).info("record %d", number)
    logging.getLogger(LOGGER).debug("which nobody wants")
    return number, True


def says_and_goes_on(number: int) -> tuple[int, bool]:
    logging.getLogger(LOGGER).info("record %d", number)
    time.sleep(6.0)
    return number, True


def says_and_dies(number: int) -> tuple[int, bool]:
    logging.getLogger(LOGGER).info("record %d", number)
    if number == 3:
        os._exit(3)
    return number, True


class Ends(Kept):
    def teardown(self) -> None:
        logging.getLogger(LOGGER).info("the end")


@pytest.fixture
def lines() -> Iterator[KeptLines]:
    logger, handler = logging.getLogger(LOGGER), KeptLines()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)


def said(lines: KeptLines, name: str) -> list[Any]:
    return [getattr(record, name) for record in lines.records]


async def test_each_line_is_here_once_when_the_run_is_done_with_where_it_comes_from(
    steady: DaskCluster, lines: KeptLines
) -> None:
    await PipeFrame(executor=steady.address).run(Kept(says), range(100))
    assert sorted(lines.messages) == sorted(f"record {number}" for number in range(100))
    assert said(lines, "pipeframe_position") == [int(message.split()[1]) for message in lines.messages]
    assert set(said(lines, "pipeframe_step")) == {"says"}
    assert {name.partition(" on ")[2].partition(":")[0] for name in said(lines, "pipeframe_worker")} == {"127.0.0.1"}
    assert os.getpid() not in said(lines, "process")


async def test_lines_of_a_long_batch_are_here_before_it_ends_and_so_is_where_it_is(
    steady: DaskCluster, lines: KeptLines
) -> None:
    async with PipeFrame(executor=steady.address) as frame:
        running = asyncio.create_task(frame.run(Kept(says_and_goes_on), [7]))
        assert await asyncio.to_thread(lines.came.wait, 5.0)
        assert not running.done()
        assert (lines.messages, said(lines, "pipeframe_position")) == (["record 7"], [0])
        running.cancel()
        await asyncio.wait([running])


async def test_the_last_lines_of_a_record_that_dies_are_its_failures_and_a_teardown_is_heard(
    steady: DaskCluster, lines: KeptLines
) -> None:
    pipeline = Ends(says_and_dies)
    async with PipeFrame(1, executor=steady.address) as frame:
        await frame.run(pipeline, range(6))
    (failure,) = pipeline.dead
    assert "record 3" in "".join(failure.log)
    assert {f"record {number}" for number in range(6) if number != 3} <= set(lines.messages)
    assert lines.messages[-1] == "the end"
