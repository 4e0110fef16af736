"""What is forked in a step ends where it leaves it. Real forks, of this process; the child writes what it does."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeframe_async import DROP
from pipeframe_async._worker import envelope, forks
from pipeframe_async._worker.chain import Chain
from pipeframe_async._worker.cursor import Cursor
from pipeframe_async.wire import ChainSpec

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing is forked"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]
Step = Callable[[int], Any]


def leaves_by(way: str) -> Any:
    """How the child comes out of its step."""
    match way:
        case "return":
            return 1, True
        case "bypass":
            return 1, False
        case "drop":
            return DROP
        case "generator":
            return (pair for pair in [(1, True), (2, True)])
        case "nonsense":
            return "nonsense"
        case "exit 3":
            sys.exit(3)
        case "exit":
            sys.exit()
        case "exit true":
            sys.exit(True)
        case _:
            raise LookupError(way)


class Log:
    """What was run, by whom, in a file that all write to."""

    def __init__(self, place: Path) -> None:
        self.path = place / "log"
        self.path.touch()
        self.codes: list[int] = []
        self.worker = os.getpid()

    def step(self, record: int) -> tuple[int, bool]:
        with self.path.open("a") as log:
            log.write(f"{os.getpid() == self.worker}:{record}\n")
        return record, True

    def forks(self, way: str, at: int = 3) -> Step:
        def step(record: int) -> Any:
            if record == at:
                pid = os.fork()
                if pid == 0:
                    return leaves_by(way)
                self.codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            return record, True

        return step

    @property
    def of_the_child(self) -> list[str]:
        return [line for line in self.path.read_text().split() if not line.startswith("True")]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    made = Log(tmp_path)
    yield made
    if os.getpid() != made.worker:
        os._exit(99)  # a child that has come so far has failed the test, and is not to go on with the others


def chain(*steps: Step) -> Chain:
    return Chain(ChainSpec(tuple(f"s{n}" for n in range(len(steps))), steps, None))


def run(log: Log, chain: Chain, count: int = 8) -> Any:
    """Run it; a child that comes out says so by its code."""
    cursor = Cursor()
    try:
        tally = chain.run(range(count), cursor.cells)
    finally:
        if os.getpid() != log.worker:
            os._exit(98)
    index = cursor.cells[1]
    cursor.close()
    assert index == count - 1
    return tally


WAYS = [
    ("return", 0),
    ("bypass", 0),
    ("drop", 0),
    ("generator", 0),
    ("nonsense", 0),
    ("exit", 0),
    ("exit 3", 3),
    ("exit true", 1),
    ("raise", 1),
]


@pytest.mark.parametrize(("way", "code"), WAYS)
@pytest.mark.parametrize("first", [True, False])
def test_a_child_that_leaves_its_step_ends_there_with_its_own_code(way: str, code: int, first: bool, log: Log) -> None:
    steps = (log.forks(way), log.step) if first else (log.step, log.forks(way))
    made = chain(*steps)
    for _ in range(2):  # timed, and then, as it is fast, mostly plain
        assert run(log, made).results == list(range(8))
    assert log.codes == [code, code]
    assert log.of_the_child == []


@pytest.mark.parametrize("at", [0, 7])
def test_at_either_end_of_a_batch_as_well(at: int, log: Log) -> None:
    assert len(run(log, chain(log.forks("return", at), log.step)).results) == 8
    assert (log.codes, log.of_the_child) == ([0], [])


@pytest.mark.parametrize("raises", [False, True])
def test_a_child_of_a_generator_ends_where_it_yields_or_raises(raises: bool, log: Log) -> None:
    def fans(record: int) -> Iterator[tuple[int, bool]]:
        yield record, True
        if record == 3:
            pid = os.fork()
            if pid == 0 and raises:
                raise LookupError
            if pid:
                log.codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        yield record, True

    assert len(run(log, chain(fans, log.step)).results) == 16
    assert (log.codes, log.of_the_child) == ([int(raises)], [])


def test_a_child_that_is_forked_in_setup_runs_no_step(log: Log) -> None:
    class Pipeline:
        def setup(self) -> None:
            if pid := os.fork():
                log.codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

    made = Chain(ChainSpec(("s",), (log.step,), Pipeline()))
    made.setup()
    if os.getpid() != log.worker:
        os._exit(98)
    assert log.codes == [0]


def test_the_worker_goes_on_as_before(log: Log) -> None:
    made = chain(log.forks("return"), log.step)
    for _ in range(3):
        run(log, made)
    assert len(log.path.read_text().split()) == 24
    assert forks._at_work == {}


def test_a_record_that_forks_as_it_is_read_has_no_reply_of_its_childs(log: Log) -> None:
    envelope.install("forks", ChainSpec(("s",), (log.step,), None))
    try:
        data = pickle_of(Forks())
        reply = envelope.work("forks", None, 1, data, True)
    finally:
        if os.getpid() != log.worker:
            os._exit(98)
        envelope.forget("forks")
    assert reply.records == 1


class Forks:
    def __reduce__(self) -> tuple[Any, ...]:
        return fork_and_wait, ()


def fork_and_wait() -> int:
    if pid := os.fork():
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    return 1


def pickle_of(value: object) -> bytes:
    import pickle

    return pickle.dumps([value])


def test_the_text_of_an_exit_is_said_and_is_one(capfd: pytest.CaptureFixture[str]) -> None:
    assert forks._code_of(SystemExit("no more")) == 1
    assert capfd.readouterr().err == "no more\n"
    assert forks._code_of(SystemExit(-1)) == 255
