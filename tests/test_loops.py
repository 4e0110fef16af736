"""Coroutine tests run on the loops that `tests/conftest.py` gives them."""

from __future__ import annotations

import asyncio
import sys

import pytest

from pipeframe_async.testing import VirtualClockLoop
from tests.conftest import REAL_LOOPS, one_of


async def test_a_coroutine_test_runs_on_the_loop_its_name_says(request: pytest.FixtureRequest) -> None:
    module = type(asyncio.get_running_loop()).__module__.partition(".")[0]
    said = request.node.name.partition("[")[2].rstrip("]")
    assert module == (said or next(iter(one_of(REAL_LOOPS, request.node.nodeid))))


def test_half_of_those_that_have_one_loop_have_each() -> None:
    names = [name for number in range(1000) for name in one_of(REAL_LOOPS, f"test_{number}")]
    assert 400 < names.count("asyncio") < 600 or len(REAL_LOOPS) == 1


@pytest.mark.virtual_clock
async def test_a_marked_one_runs_on_the_virtual_clock() -> None:
    assert isinstance(asyncio.get_running_loop(), VirtualClockLoop)


@pytest.mark.skipif(
    sys.platform == "win32" or sys.implementation.name != "cpython", reason="uvloop is not for this platform"
)
def test_both_loops_are_there() -> None:
    assert list(REAL_LOOPS) == ["asyncio", "uvloop"]
