"""For every test: both event loops, and nothing left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping

import hypothesis
import pytest

from pipeframe_async.testing import VirtualClockLoop, leaks
from tests.real.folders import SERVER_FOLDER

REAL_LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
try:
    import uvloop
except ImportError:  # Windows, PyPy
    pass
else:
    REAL_LOOPS["uvloop"] = uvloop.new_event_loop

# A busy machine is no failure; everything else as Hypothesis has it, which is without chance where CI is set.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


def pytest_configure(config: pytest.Config) -> None:
    leaks.tag_session()
    leaks.kept.add(SERVER_FOLDER)
    for new_loop in REAL_LOOPS.values():  # the first loop of a kind opens descriptors that stay for good
        new_loop().close()


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loops a coroutine test runs on; pytest-asyncio asks once for each such test."""
    if item.get_closest_marker("virtual_clock"):
        return {"virtual": VirtualClockLoop}
    if item.get_closest_marker("one_loop"):
        return {"asyncio": REAL_LOOPS["asyncio"]}
    return REAL_LOOPS


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Fail a test that leaves a task, process, thread, descriptor or shared memory entry."""
    before = leaks.snapshot()
    with leaks.watched_runners() as tasks:
        yield
    left = [*tasks, *leaks.left_behind(before)]
    if left:
        leaks.end_new_processes(before)
        pytest.fail("left behind:\n  " + "\n  ".join(left), pytrace=False)
