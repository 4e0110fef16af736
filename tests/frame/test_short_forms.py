"""The short forms: results by a plain `for`, a pipeline without a class."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeframe_async import (
    ConfigError,
    FeedError,
    PipeFrame,
    PipelineEngine,
    PipelineFailed,
    RunReport,
    StateError,
    apply,
    iterating,
    keep_if,
    pipeline,
    run,
    stream,
)
from pipeframe_async.pipeline_engine import name_of
from tests.conftest import REAL_LOOPS

ROOT = Path(__file__).parents[2]


def squared(n: int) -> int:
    return n * n


SQUARES = pipeline(apply(squared))


@pytest.fixture(params=REAL_LOOPS, autouse=True)
def on_each_loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iterating, "loop_factory", lambda: REAL_LOOPS[request.param])


def threads() -> list[str]:
    """Those that have a loop for a `for`; others end by themselves."""
    return [thread.name for thread in threading.enumerate() if thread.name.endswith("-stream")]


class Fed:
    """An endless feed, which counts."""

    def __init__(self) -> None:
        self.fed = 0

    def __iter__(self) -> Iterator[int]:
        while True:
            yield self.fed
            self.fed += 1


@pytest.mark.process
def test_the_one_liner_of_other_pools() -> None:
    assert list(stream(pipeline(apply(squared)), range(1000), cpu_count=2)) == [n * n for n in range(1000)]


def test_the_generator_returns_the_report() -> None:
    reports: list[RunReport] = []

    def kept() -> Iterator[int]:
        reports.append((yield from stream(SQUARES, range(10), executor="inline")))

    assert len(list(kept())) == 10
    assert (reports[0].delivered, reports[0].ended_by) == (10, "exhausted")


@pytest.mark.process
def test_leaving_the_for_stops_the_work_and_leaves_nothing_behind() -> None:
    for square in stream(SQUARES, Fed(), cpu_count=1):
        if square > 100:
            break
    assert threads() == []


@pytest.mark.parametrize("leave", [lambda results: results.close(), lambda results: None])
def test_closing_and_dropping_the_generator_stop_the_work(leave: Callable[[Any], None]) -> None:
    results = stream(SQUARES, Fed(), executor="inline")
    assert next(results) == 0
    assert threads() != []
    leave(results)
    del results
    assert threads() == []


@pytest.mark.parametrize("leave", [lambda results: results.close(), lambda results: None])
def test_a_failure_behind_what_was_taken_is_logged_where_the_generator_is_left(
    leave: Callable[[Any], None], caplog: pytest.LogCaptureFixture
) -> None:
    results = stream(pipeline(apply(lambda n: 1 / (2 - n)), source="stream"), range(5), executor="inline")
    assert [next(results), next(results)] == [0.5, 1.0]
    while threads():  # the run fails, and its thread ends
        time.sleep(0.01)
    leave(results)
    del results
    assert threads() == []
    assert "a stream() was left before its end, and its run had failed by then" in caplog.text


def test_a_generator_that_is_found_by_the_collector_stops_the_work() -> None:
    ring: list[Any] = [stream(SQUARES, Fed(), executor="inline")]
    next(ring[0])
    ring.append(ring)
    del ring
    gc.collect()
    assert threads() == []


def test_nothing_begins_before_the_first_result_is_asked_for() -> None:
    feed = Fed()
    results = stream(SQUARES, feed, executor="inline")
    assert (feed.fed, threads()) == (0, [])
    results.close()


def test_a_slow_for_slows_the_feed() -> None:
    feed = Fed()
    results = stream(SQUARES, feed, executor="inline", buffer_size=50)
    for _ in range(30):
        next(results)
        time.sleep(0.001)
    assert feed.fed <= 200  # two lists of the buffer's, and what is being fed
    results.close()


def test_an_error_of_the_run_is_raised_in_the_for_behind_the_results() -> None:
    found = []
    with pytest.raises(PipelineFailed) as caught:
        for inverse in stream(pipeline(apply(lambda n: 4 / n), batch_size=1), [1, 2, 0], executor="inline"):
            found.append(inverse)
    assert (found, caught.value.failures[0].record) == ([4.0, 2.0], 0)
    assert caught.value.report is not None
    assert caught.value.report.failed == 1


def test_an_error_of_the_feed_is_raised_in_the_for() -> None:
    def feed() -> Iterator[int]:
        yield 1
        raise OSError("gone")

    with pytest.raises(FeedError, match="gone"):
        list(stream(SQUARES, feed, executor="inline"))


def test_what_is_wrong_with_a_pipeline_is_raised_in_the_for() -> None:
    with pytest.raises(ConfigError, match=r"timeout=0: must be a number of seconds above 0"):
        list(stream(pipeline(apply(squared), timeout=0), [1]))


def test_an_error_in_the_for_ends_the_run() -> None:
    with pytest.raises(KeyError):
        for square in stream(SQUARES, Fed(), executor="inline"):
            raise KeyError(square)
    gc.collect()
    assert threads() == []


def test_options_are_checked_before_anything_begins() -> None:
    with pytest.raises(ConfigError) as caught:
        stream(SQUARES, [1], timeout=3)  # type: ignore[call-arg]
    assert str(caught.value) == (
        "stream() has no option timeout=3: "
        "it belongs to the pipeline: set `timeout` in its class, or pipeline(..., timeout=...)"
    )
    with pytest.raises(ConfigError, match="two names for one thing"):
        stream(SQUARES, [1], load=[2])


async def test_in_a_running_loop_it_says_what_to_write() -> None:
    with pytest.raises(StateError) as caught:
        stream(SQUARES, [1])
    assert str(caught.value) == (
        "pipeframe_async.stream() cannot be used while an event loop is running, as in a notebook; there, iterate by "
        "`async for` what `async with PipeFrame(...).stream(pipeline) as results` gives"
    )
    with pytest.raises(StateError) as caught:
        run(SQUARES, [1])
    assert str(caught.value) == (
        "pipeframe_async.run() cannot be used while an event loop is running, as in a notebook; there, write `await "
        "PipeFrame(...).run(pipeline)`"
    )


async def test_it_may_be_iterated_in_a_thread_beside_a_loop() -> None:
    assert await asyncio.to_thread(lambda: list(stream(SQUARES, [1, 2], executor="inline"))) == [1, 4]


def test_two_at_a_time() -> None:
    both = zip(stream(SQUARES, [1, 2], executor="inline"), stream(SQUARES, [3, 4], executor="inline"), strict=True)
    assert list(both) == [(1, 9), (4, 16)]


def test_a_generator_may_go_on_in_another_thread() -> None:
    results = stream(SQUARES, Fed(), executor="inline")
    found = [next(results)]
    other = threading.Thread(target=lambda: found.extend(itertools.islice(results, 3)))
    other.start()
    other.join()
    results.close()
    assert found == [0, 1, 4, 9]


def ended(program: str, tmp_path: Path) -> subprocess.Popen[str]:
    code = f"from pipeframe_async import apply, pipeline, stream\nimport itertools\n{program}"
    (file := tmp_path / "program.py").write_text(code)
    return subprocess.Popen(
        [sys.executable, str(file)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.process
@pytest.mark.parametrize("executor", ["processes", "threads", "inline"])
def test_a_program_may_end_with_a_generator_in_its_hands(executor: str, tmp_path: Path) -> None:
    program = f"results = stream(pipeline(apply(abs)), itertools.count(), cpu_count=1, executor={executor!r})\n"
    with ended(program + "print(next(results), next(results))\n", tmp_path) as process:
        out, err = process.communicate(timeout=30)
    assert (out, err, process.returncode) == ("0 1\n", "", 0)


@pytest.mark.process
@pytest.mark.skipif(os.name == "nt", reason="signals as POSIX has them")
def test_a_ctrl_c_is_raised_in_the_for(tmp_path: Path) -> None:
    program = (
        "import signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background\n"
        "try:\n    for n in stream(pipeline(apply(abs)), itertools.count(), cpu_count=1):\n"
        "        if n == 10:\n            print('begun', flush=True)\n"
        "except KeyboardInterrupt:\n    print('interrupted')\n"
    )
    with ended(program, tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (out, err, process.returncode) == ("interrupted\n", "", 0)


@pytest.mark.process
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_fork_is_told_that_the_results_come_elsewhere(tmp_path: Path) -> None:
    program = (
        "import os, warnings\n"
        "warnings.simplefilter('ignore', DeprecationWarning)  # of 3.12: a fork beside threads\n"
        "results = stream(pipeline(apply(abs)), itertools.count(), executor='inline')\n"
        "print(next(results), flush=True)\n"
        "if (child := os.fork()) == 0:\n"
        "    try:\n        list(results)\n"
        "    except Exception as error:\n        print(type(error).__name__, error, flush=True)\n"
        "    os._exit(0)\n"
        "os.waitpid(child, 0)\n"
        "results.close()\n"
    )
    with ended(program, tmp_path) as process:
        out, err = process.communicate(timeout=30)
    said = "StateError a stream() cannot be gone on with in a fork: its run is in the process that has begun it"
    assert (out, err, process.returncode) == (f"0\n{said}\n", "", 0)


@pytest.mark.process
def test_a_thread_that_iterates_when_the_program_ends_is_told_that_results_are_missing(tmp_path: Path) -> None:
    program = (
        "import threading\n"
        "begun = threading.Event()\n"
        "def iterate():\n"
        "    try:\n"
        "        for _ in stream(pipeline(apply(abs)), itertools.count(), executor='inline'):\n"
        "            begun.set()\n"
        "    except Exception as error:\n        print(type(error).__name__, error, flush=True)\n"
        "threading.Thread(target=iterate).start()\n"
        "begun.wait()\n"
    )
    with ended(program, tmp_path) as process:
        out, err = process.communicate(timeout=30)
    said = "the program has ended while a thread was iterating a stream(), so results are missing: join that thread"
    assert (out, err, process.returncode) == (f"StateError {said}\n", "", 0)


# A pipeline without a class.


def test_a_pipeline_has_what_it_is_given() -> None:
    taken: list[int] = []
    lost: list[int] = []

    def price(n: int) -> tuple[float, bool]:
        return 1 / n, True

    made = pipeline(
        keep_if(lambda n: n < 4),
        price,
        feed=[2, 1, 0, 7],
        order="completion",
        sink=taken.extend,
        dead_letter=lambda failures: lost.extend(failure.record for failure in failures),
    )
    for _ in range(2):  # it may be used again
        report = run(made, executor="inline")
        assert (report.delivered, report.failed, report.filtered) == (2, 1, 1)
    assert (sorted(taken), lost) == ([0.5, 0.5, 1.0, 1.0], [0, 0])
    assert repr(made) == "pipeline(<lambda>, price)"


def test_one_without_a_class_goes_by_its_steps() -> None:
    with pytest.raises(ConfigError, match=r"^pipeline\(squared\)\.max_failures=-1"):
        run(pipeline(apply(squared), max_failures=-1), [1])
    assert name_of(pipeline(*[apply(squared)] * 4)) == "pipeline(squared, …, squared)"


def test_an_order_by_key_is_a_function_of_the_record() -> None:
    made = pipeline(apply(squared), order=lambda n: n % 2)
    assert sorted(stream(made, range(10), executor="inline")) == [n * n for n in range(10)]


def test_a_feed_may_be_a_generator_function() -> None:
    def numbers() -> Iterator[int]:
        yield from (1, 2)

    assert list(stream(pipeline(apply(squared), feed=numbers), executor="inline")) == [1, 4]


@pytest.mark.process
def test_setup_and_teardown_travel_and_what_is_the_parents_does_not(tmp_path: Path) -> None:
    def setup() -> None:
        (tmp_path / "up").touch()

    def teardown() -> None:
        (tmp_path / "down").touch()

    lock = threading.Lock()
    made = pipeline(
        apply(squared), setup=setup, teardown=teardown, sink=lambda squares: lock.locked(), feed=iter([1, 2])
    )
    assert run(made, cpu_count=1).delivered == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["down", "up"]


@pytest.mark.parametrize(
    ("attributes", "says"),
    [
        ({"time_out": 3}, "time_out=3: did you mean timeout?"),
        ({"cpu_count": 3}, "cpu_count=3: it belongs to the frame: write PipeFrame(cpu_count=...)"),
        ({"colour": "red"}, "colour='red': there are feed, source, timeout"),
    ],
)
def test_an_attribute_that_is_none_is_refused(attributes: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        pipeline(apply(squared), **attributes)
    assert str(caught.value).startswith(f"pipeline() has no option {says}")


def test_a_pipeline_without_steps_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        pipeline()
    assert str(caught.value) == "pipeline() needs at least one step, e.g. pipeline(apply(parse))"


@pytest.mark.parametrize("given", [([apply(squared)], {}), (None, {"steps": [apply(squared)]})])
def test_steps_in_a_list_are_told_to_come_one_by_one(given: tuple[Any, dict[str, Any]]) -> None:
    first, attributes = given
    with pytest.raises(ConfigError) as caught:
        pipeline(*([] if first is None else [first]), **attributes)
    assert str(caught.value) == ("pipeline() takes its steps one by one, not in a list: pipeline(apply(parse), price)")


async def test_a_pipeline_is_one_for_a_frame_too() -> None:
    async with PipeFrame(executor="inline") as frame:
        assert await frame.call(SQUARES, 3) == 9
        async with frame.stream(SQUARES, [1, 2]) as results:
            assert [square async for square in results] == [1, 4]
    assert isinstance(SQUARES, PipelineEngine)
