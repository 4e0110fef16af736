"""The plugin for pytest: a `frame`, and the certainty that nothing of it is left when the test is over.

It is loaded with every session of pytest where the library is installed: until a test wants a frame it imports nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from pipeframe_async.frame import PipeFrame
    from pipeframe_async.testing.leaks import Snapshot

WORKERS: Final = 2
"""Of a frame that says nothing else: more than one, so that records overtake each other, and quick to start."""


@dataclass(frozen=True, slots=True)
class _Watch:
    """What there was before the test, and the tasks that loops were closed over."""

    before: Snapshot
    tasks: list[str]
    ended: ExitStack


_WATCH: Final = pytest.StashKey[_Watch]()


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "frame(**options): what the PipeFrame of the `frame` fixture is made with")


@pytest.fixture
def frame(request: pytest.FixtureRequest) -> PipeFrame:
    """A `PipeFrame` of two worker processes, for one test.

    `await frame.run(P)` in it, or `async with frame:` to keep its workers warm. `@pytest.mark.frame(cpu_count=1,
    executor="inline")` says how it is made. When the test is over, and its event loop is closed, the test fails if it
    has left a task, process, thread, descriptor or shared memory; what it left running is ended. It needs no plugin for
    async tests, and works with each.
    """
    from pipeframe_async.frame import PipeFrame
    from pipeframe_async.testing import leaks

    leaks.tag_session()
    _open_loops()
    ended = ExitStack()
    tasks = ended.enter_context(leaks.watched_runners())
    request.node.stash[_WATCH] = _Watch(leaks.snapshot(), tasks, ended)
    mark = request.node.get_closest_marker("frame")
    return PipeFrame(**{"cpu_count": WORKERS, **({} if mark is None else mark.kwargs)})


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """Look, behind all fixtures: the event loop of a test is one of them."""
    watch = item.stash.get(_WATCH, None)
    if watch is None:
        return (yield)
    with watch.ended:
        result = yield
    from pipeframe_async.testing import leaks

    if left := [*watch.tasks, *leaks.left_behind(watch.before)]:
        leaks.end_new_processes(watch.before)
        pytest.fail("left behind:\n  " + "\n  ".join(left), pytrace=False)
    return result


def _open_loops() -> None:
    """The first loop of a kind opens descriptors that stay for good."""
    import asyncio

    asyncio.new_event_loop().close()
    if (uvloop := sys.modules.get("uvloop")) is not None:
        uvloop.new_event_loop().close()
