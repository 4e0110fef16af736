"""What calls have before them, by stages that are plain counts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from pipeframe_async._engine.load import Load
from pipeframe_async._engine.run import Run
from pipeframe_async.testing import FakeExecutor
from tests.engine.harness import Stream, a_run, passing

pytestmark = pytest.mark.virtual_clock


async def waits(record: Any) -> tuple[Any, bool]:
    await asyncio.sleep(1.0)
    return record, True


def a_load(steps: Sequence[Any], script: Sequence[Any] = (), **knobs: Any) -> tuple[Run, Load]:
    run = a_run(Stream(script, steps=steps, **knobs), FakeExecutor(1, delay=1.0))
    organs = run.organs
    return run, Load(organs.stages, organs.dispatch.share, organs.workforce)


async def test_def_steps_alone_need_the_lanes_for_what_waits() -> None:
    _, load = a_load([passing])
    assert load.spent == [0.0]
    assert load.lane_seconds(10, [0.5]) == pytest.approx(5.0)
    assert (load.loop_seconds(10, [0.5]), load.midway) == (0.0, 0)


async def test_before_anything_was_measured_nothing_is_known() -> None:
    _, load = a_load([waits, passing])
    assert load.lane_seconds(10, ()) == load.loop_seconds(10, ()) == 0.0


async def test_async_steps_have_so_many_places() -> None:
    _, load = a_load([waits], async_concurrency=4)
    assert load.loop_seconds(10, [0.0, 2.0]) == pytest.approx(5.0)


async def test_what_is_between_its_stages_waits_for_a_lane_and_what_is_in_an_async_step_will() -> None:
    run, load = a_load([waits, passing], range(10), async_concurrency=5)
    running = asyncio.ensure_future(run.execute())
    await asyncio.sleep(0.5)
    assert (load.midway, load.lane_seconds(0, [1.0, 1.0])) == (0, 5.0)
    await asyncio.sleep(1.0)
    assert load.midway == 4  # and one is in the lane
    assert load.lane_seconds(0, [1.0, 1.0]) == 9.0
    await running
    assert load.spent[1] == pytest.approx(10.0)
    assert load.spent[0] > 0.0
