"""Coroutine tests run on the loops that `tests/conftest.py` gives them."""

from __future__ import annotations

import asyncio
import sys

import pytest

from pipeframe_async.testing import VirtualClockLoop
from tests.conftest import REAL_LOOPS


async def test_a_coroutine_test_runs_on_the_loop_its_name_says(request: pytest.FixtureRequest) -> None:
    module = type(asyncio.get_running_loop()).__module__.partition(".")[0]
    assert request.node.name.endswith(f"[{module}]")


@pytest.mark.virtual_clock
async def test_a_marked_one_runs_on_the_virtual_clock() -> None:
    assert isinstance(asyncio.get_running_loop(), VirtualClockLoop)


@pytest.mark.skipif(
    sys.platform == "win32" or sys.implementation.name != "cpython", reason="uvloop is not for this platform"
)
def test_both_loops_are_there() -> None:
    assert list(REAL_LOOPS) == ["asyncio", "uvloop"]
