"""For every test: both event loops, nothing left behind, and how much of all is run.

What is run where nobody asks for more takes three minutes: a coroutine test on one of the two loops, and nothing marked
`full`, which are tests that are like others or, by `slow.txt`, take long. `-m full` asks for all of it: then those that
take long have one loop each, and all others both.
"""

from __future__ import annotations

import asyncio
import functools
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import hypothesis
import pytest

from pipeframe_async.testing import VirtualClockLoop, leaks
from tests.durations import function_of
from tests.real.folders import SERVER_FOLDER

LoopFactory = Callable[[], asyncio.AbstractEventLoop]
REAL_LOOPS: dict[str, LoopFactory] = {"asyncio": asyncio.new_event_loop}
try:
    import uvloop
except ImportError:  # Windows, PyPy
    pass
else:
    REAL_LOOPS["uvloop"] = uvloop.new_event_loop

# A busy machine is no failure; everything else as Hypothesis has it, which is without chance where CI is set.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


@functools.cache
def slow_functions() -> frozenset[str]:
    """Those whose tests take long, all together: `python -m tests.durations` says which."""
    return frozenset(Path(__file__).with_name("slow.txt").read_text("utf-8").split())


ALL = "not soak and not cluster"
"""What `-m full` is: those that are left out otherwise, and all others."""
whole = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    if config.option.markexpr == "full":
        config.option.markexpr = ALL
    config.stash[whole] = "not full" not in config.option.markexpr
    leaks.tag_session()
    leaks.kept.add(SERVER_FOLDER)
    for new_loop in REAL_LOOPS.values():  # the first loop of a kind opens descriptors that stay for good
        new_loop().close()


ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def shown(value: object) -> str:
    """A value as the id of a test: as it is written, without where it is in memory."""
    return ADDRESS.sub("", repr(value))


@pytest.hookimpl(tryfirst=True)  # before those that are not asked for are left out
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if named := [item.nodeid for item in items if ADDRESS.search(item.nodeid)]:
        raise pytest.UsageError(f"these have another name in each process, which pytest-xdist cannot have: {named}")
    for item in items:
        if function_of(item.nodeid) in slow_functions():
            item.add_marker(pytest.mark.full)


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, LoopFactory]:
    """The loops a coroutine test runs on; pytest-asyncio asks once for each such test."""
    if item.get_closest_marker("virtual_clock"):
        return {"virtual": VirtualClockLoop}
    if item.get_closest_marker("one_loop"):
        return {"asyncio": REAL_LOOPS["asyncio"]}
    if config.stash[whole] and function_of(item.nodeid) not in slow_functions():
        return REAL_LOOPS
    return one_of(REAL_LOOPS, item.nodeid)


def one_of(loops: Mapping[str, LoopFactory], test: str) -> Mapping[str, LoopFactory]:
    """The loop a test has where it is to have one: always the same, and half of all tests have each."""
    name = sorted(loops)[zlib.crc32(test.encode()) % len(loops)]
    return {name: loops[name]}


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
