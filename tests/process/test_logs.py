"""Steps log in real workers: handled here as if it had been logged here, each line once, whatever comes of a worker."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import threading
import warnings
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeframe_async import PipeFrame
from pipeframe_async.executors.processes.fleet import ProcessLanes
from pipeframe_async.sinks.letters import Letters
from tests.process.logging_steps import (
    Dies,
    Hangs,
    Hooks,
    Many,
    Mixed,
    Own,
    Says,
    SaysMore,
    Unreadable,
    Waits,
    Warns,
    WithGaps,
)

pytestmark = pytest.mark.process
ROOT = Path(__file__).parents[2]
LOGGER = "tests.steps"
PRELUDE = """
import logging, sys
from pipeframe_async import run
from tests.process.logging_steps import *
"""


class Kept(logging.Handler):
    """Keeps what it is given, and in which thread."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.threads: set[int] = set()
        self.came = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        self.threads.add(threading.get_ident())
        self.came.set()

    @property
    def messages(self) -> list[str]:
        return [record.getMessage() for record in self.records]


@pytest.fixture
def kept() -> Iterator[Kept]:
    logger, handler = logging.getLogger(LOGGER), Kept()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)


def program(source: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *options, "-c", PRELUDE + source],
        capture_output=True,
        text=True,
        timeout=40,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )


async def test_each_line_is_handled_once_with_the_position_of_its_record(kept: Kept) -> None:
    await PipeFrame(2).run(Says(range(1000, 3000)))
    assert sorted(vars(record)["pipeframe_position"] for record in kept.records) == [*range(2000)]
    assert all(vars(record)["record"] == 1000 + vars(record)["pipeframe_position"] for record in kept.records)
    last: dict[str, int] = defaultdict(lambda: -1)
    for record in kept.records:
        told: Any = vars(record)
        assert (told["pipeframe_step"], told["pipeframe_pipeline"]) == ("says", "Says")
        assert (told["funcName"], told["what"], told["process"] != os.getpid()) == ("says", "<class 'object'>", True)
        assert last[told["pipeframe_worker"]] < told["pipeframe_position"]  # in order, for each worker
        last[told["pipeframe_worker"]] = told["pipeframe_position"]
    assert {*last} <= {"lane 0", "lane 1"}
    assert threading.main_thread().ident not in kept.threads


async def test_exceptions_are_text_and_what_is_below_the_level_is_not_there(kept: Kept) -> None:
    await PipeFrame(1).run(SaysMore([5]))
    assert kept.messages == ["record 5", "no 5"]
    assert "KeyError: 5" in (kept.records[1].exc_text or "")
    assert [vars(record)["pipeframe_step"] for record in kept.records] == ["says", "says_more"]


async def test_a_level_that_changes_holds_from_the_next_batch_on(kept: Kept) -> None:
    async with PipeFrame(1) as frame:
        await frame.run(Says(range(2)))
        logging.getLogger(LOGGER).setLevel(logging.ERROR)
        await frame.run(Says(range(2)))
        logging.getLogger(LOGGER).setLevel(logging.DEBUG)
        await frame.run(SaysMore([7]))
    assert kept.messages == ["record 0", "record 1", "record 7", "more of 7", "no 7"]


async def test_a_line_of_a_long_step_is_seen_while_it_runs(kept: Kept, tmp_path: Path) -> None:
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        task = group.create_task(PipeFrame(1).run(Waits([str(tmp_path / "read")])))
        await asyncio.to_thread(kept.came.wait, 20)
        (tmp_path / "read").touch()
        report = await task
    assert (kept.messages, report.delivered, report.bypassed) == (["waiting"], 1, 0)


async def test_ten_thousand_lines_of_one_record_come_in_order(kept: Kept) -> None:
    await PipeFrame(1).run(Many([10_000]))
    assert kept.messages == [str(number) for number in range(10_000)]


async def test_setup_and_teardown_are_heard_too(kept: Kept) -> None:
    await PipeFrame(1).run(Hooks([1]))
    assert kept.messages == ["setup", "record 1", "teardown"]
    assert [vars(record)["pipeframe_step"] for record in kept.records] == ["setup", "says", "teardown"]


async def test_what_a_dying_worker_has_logged_last_is_in_its_failure(kept: Kept, tmp_path: Path) -> None:
    pipeline = Dies()
    report = await PipeFrame(1).run(pipeline)
    (failure,) = pipeline.failures
    assert (report.failed, failure.record, failure.kind) == (1, 3, "crashed")
    assert failure.log == f"INFO {LOGGER}: at 3\nERROR {LOGGER}: this is the end"
    assert failure.as_dict()["log"] == failure.log
    letters = Letters(str(tmp_path / "bad.dead"))
    letters.add([failure], pipeline="Dies", writer="me")
    assert [letter.log for letter in letters.find()] == [failure.log]
    letters.close()


def positions(kept: Kept) -> list[tuple[int, int]]:
    """Of each line the record it is about, and where it says that is in the feed."""
    return sorted((int(record.getMessage().split()[-1]), vars(record)["pipeframe_position"]) for record in kept.records)


async def test_positions_are_right_for_parts_of_a_batch_that_were_run_again(kept: Kept) -> None:
    pipeline = Dies([*range(100)])
    await PipeFrame(2).run(pipeline)
    kept.records[:] = [record for record in kept.records if record.getMessage().startswith("at")]
    told = positions(kept)
    assert {record for record, _ in told} >= {*range(100)} - {3}
    assert all(record == position for record, position in told)


async def test_positions_are_right_for_records_that_go_alone(kept: Kept) -> None:
    await PipeFrame(2).run(Mixed(range(200)))
    assert positions(kept) == [(record, record) for record in range(200) for _ in range(2)]


async def test_positions_are_right_beside_records_that_cannot_be_read(kept: Kept) -> None:
    await PipeFrame(1).run(WithGaps([0, 1, Unreadable(), 3, Unreadable(), 5]))
    assert positions(kept) == [(record, record) for record in (0, 1, 3, 5)]


async def test_so_is_what_one_has_logged_that_was_out_of_time(kept: Kept) -> None:
    pipeline = Hangs()
    await PipeFrame(1).run(pipeline)
    (failure,) = pipeline.failures
    assert (failure.kind, failure.log) == ("timeout", f"INFO {LOGGER}: at 3")


async def test_a_warning_is_shown_once_and_not_by_each_worker() -> None:
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("default")
        await PipeFrame(2).run(Warns(range(2000)))
    assert [(str(told.message), told.category) for told in shown] == [("this is old", DeprecationWarning)]


async def test_a_handler_that_setup_has_made_goes_on_working(kept: Kept, tmp_path: Path) -> None:
    await PipeFrame(1).run(Own(tmp_path / "own.log"))
    assert (tmp_path / "own.log").read_text().splitlines() == kept.messages == [f"record {n}" for n in range(3)]


def test_a_program_without_handlers_shows_warnings_as_plain_python_does() -> None:
    done = program("run(Hooks([1]), cpu_count=1)")
    assert (done.returncode, done.stderr) == (0, "setup\nteardown\n")


def test_a_module_that_sets_up_logging_as_it_is_imported_shows_each_line_once(tmp_path: Path) -> None:
    module = tmp_path / "app_that_logs.py"
    module.write_text(
        "import logging\n"
        "logging.basicConfig(level=logging.INFO, format='%(levelname)s %(message)s')\n"
        "from tests.process.logging_steps import *\n"
        "def step(record):\n    logging.getLogger('app').info('at %d', record)\n    return record, True\n"
        "class P(Says):\n    steps = (step,)\n"
        "    def setup(self):\n        logging.basicConfig(level=logging.DEBUG)\n"
    )
    source = f"sys.path.insert(0, {str(tmp_path)!r})\nfrom app_that_logs import P\nrun(P(range(3)), cpu_count=1)"
    done = program(source)
    assert (done.returncode, done.stderr) == (0, "INFO at 0\nINFO at 1\nINFO at 2\n")


def test_what_was_printed_without_the_end_of_its_line_is_not_lost() -> None:
    done = program("run(HalfLines(range(3)), cpu_count=1)\npipeline = Hangs()\nrun(pipeline, cpu_count=1)")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "<0><1><2>" + 2 * "half a line"  # it is tried again alone


def test_an_interpreter_that_makes_errors_of_warnings_does_so_in_workers() -> None:
    done = program("class P(Warns):\n    max_failures = None\nprint(run(P([1]), cpu_count=1).failed)", "-W", "error")
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


async def test_an_executor_that_is_lent_is_waited_for_too(kept: Kept) -> None:
    lanes = ProcessLanes(1)
    try:
        await PipeFrame(executor=lanes).run(Says(range(5)))
        assert kept.messages == [f"record {number}" for number in range(5)]
        assert lanes.logs_dropped == 0
    finally:
        await lanes.close(kill=False, timeout=5)
