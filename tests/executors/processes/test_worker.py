"""One worker, whose pool is a fake: what it is sent, what is told to those who ask, and what is left of it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future
from concurrent.futures.process import BrokenProcessPool
from types import SimpleNamespace
from typing import Any

import pytest

from pipeframe_async._worker import envelope, session
from pipeframe_async.errors import ConfigError
from pipeframe_async.executors.processes import worker as working
from pipeframe_async.executors.processes.worker import StartFailed, Worker
from pipeframe_async.wire import ChainRef, Packed, Phase, Reply

CHAIN = ChainRef("chain", b"pickle")
BATCH = Packed(5, b"records")


class End:
    """Of a pipe."""

    def __init__(self, closed: Callable[[], object]) -> None:
        self.closed = closed

    def close(self) -> None:
        self.closed()


class FakePool(Executor):
    """Answers each call at once, as it is told by name; a session lasts until the pool is shut down."""

    def __init__(self, workers: int, context: Any, initializer: Any, initargs: Any) -> None:
        self._broken: Any = False
        self._result_queue = SimpleNamespace(_writer=End(lambda: self.done.append("let go")))
        self._call_queue = SimpleNamespace(_reader=End(list))
        self.answers: dict[str, Any] = {"ready": (77, "")}
        self.calls: list[Any] = []
        self.lasting: list[Future[Any]] = []
        self.done: list[str] = []

    def submit(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        name = getattr(call, "func", call).__name__
        future: Future[Any] = Future()
        self.calls.append(call)
        self.done.append(name)
        answer = self.answers.get(name)
        if isinstance(answer, BaseException):
            future.set_exception(answer)
        elif answer is not None:
            future.set_result(answer)
        else:
            self.lasting.append(future)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self.done.append("shutdown")
        for future in self.lasting:
            if not future.done():
                future.set_exception(BrokenProcessPool("shut down"))


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    """A worker that has not started; put away at the end, where the test has not."""
    monkeypatch.setattr(working, "ProcessPoolExecutor", FakePool)
    worker = Worker("forkserver")
    yield worker
    if "shutdown" not in pool_of(worker).done:
        worker.hang_up()
        worker.end()


@pytest.fixture
def without_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(working, "CAN_HAND_OVER_SOCKETS", False)


def pool_of(worker: Worker) -> Any:
    return worker.pool


def asked(worker: Worker, ticket: int = 1) -> list[Reply | Exception]:
    told: list[Reply | Exception] = []
    worker.ask(CHAIN, ticket, BATCH, True, told.append)
    return told


async def turns() -> None:
    """What waits to be called on the loop is."""
    for _ in range(5):
        await asyncio.sleep(0)


# Its start.


def test_a_worker_has_started_when_it_says_so(worker: Worker) -> None:
    worker.start()
    assert worker.pid == 77
    assert pool_of(worker).done == ["ready", "let go"]


@pytest.mark.parametrize(
    ("error", "text", "foreign"),
    [
        (BrokenProcessPool("it broke"), "BrokenProcessPool: it broke; it did not say how it ended", False),
        (TimeoutError(), "TimeoutError; it did not", False),
        (EOFError(), "EOFError; it did not", True),
        (ConnectionResetError("reset"), "ConnectionResetError: reset", True),
    ],
)
def test_a_start_that_fails_says_why_and_leaves_nothing(
    worker: Worker, error: BaseException, text: str, foreign: bool
) -> None:
    pool_of(worker).answers["ready"] = error
    with pytest.raises(StartFailed, match=text) as caught:
        worker.start()
    assert caught.value.foreign is foreign
    assert pool_of(worker).done == ["ready", "shutdown"]


def test_what_keeps_a_worker_from_working_is_told_as_it_has_told_it(worker: Worker) -> None:
    pool_of(worker).answers["ready"] = (77, "Traceback: no memory")
    with pytest.raises(StartFailed, match="could not be started:\nTraceback: no memory"):
        worker.start()
    assert "shutdown" in pool_of(worker).done


def test_a_host_that_cannot_have_workers_says_so_itself(worker: Worker) -> None:
    pool_of(worker).answers["ready"] = ConfigError("not here")
    with pytest.raises(ConfigError, match="not here"):
        worker.start()
    assert "shutdown" in pool_of(worker).done


@pytest.mark.parametrize("what", ["TraceFiles", "Channel", "ProcessPoolExecutor"])
def test_where_the_system_has_no_more_the_worker_leaves_nothing(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*args: Any) -> Any:
        raise OSError("too many")

    monkeypatch.setattr(working, what, refuses)
    with pytest.raises(StartFailed, match="could not be started: too many"):
        Worker("forkserver")


# Its batches.


async def test_a_session_is_begun_once_and_a_chain_is_sent_once(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []
    worker.start()
    monkeypatch.setattr(worker._channel, "ask", lambda *call: sent.append(call))
    for ticket in range(3):
        asked(worker, ticket)
    assert [call[:3] for call in sent] == [(0, "chain", b"pickle"), (1, "chain", None), (2, "chain", None)]
    worker.again(CHAIN)
    asked(worker, 3)
    assert sent[3][:3] == (3, "chain", b"pickle")
    assert [call for call in pool_of(worker).calls if call is session.serve] == [session.serve]


async def test_when_the_session_ends_those_who_wait_are_told(worker: Worker) -> None:
    worker.start()
    told = asked(worker)
    pool_of(worker).lasting[0].set_exception(BrokenProcessPool("killed"))
    await turns()
    (error,) = told
    assert isinstance(error, BrokenExecutor)
    assert isinstance(error.__cause__, BrokenProcessPool)


async def test_a_worker_that_is_lost_tells_those_who_wait(worker: Worker) -> None:
    worker.start()
    told = asked(worker)
    worker.lost()
    assert isinstance(told[0], BrokenExecutor)


async def test_a_pool_that_breaks_as_it_is_given_a_batch_has_not_taken_it(worker: Worker) -> None:
    worker.start()
    pool_of(worker)._broken = "it died"
    with pytest.raises(BrokenExecutor, match="as it was given a batch"):
        asked(worker)


@pytest.mark.usefixtures("without_channel")
async def test_without_a_channel_batches_go_through_the_pool(worker: Worker) -> None:
    worker.start()
    pool_of(worker).answers["work"] = Reply(5)
    told = [asked(worker), asked(worker)]
    await turns()
    assert told == [[Reply(5)], [Reply(5)]]
    calls = [call.args for call in pool_of(worker).calls if hasattr(call, "func")]
    assert [data for _, data, *_ in calls] == [b"pickle", None]


@pytest.mark.usefixtures("without_channel")
@pytest.mark.parametrize(
    ("answer", "kind"), [(ValueError("cannot be read"), ValueError), (BrokenProcessPool("killed"), BrokenExecutor)]
)
async def test_without_a_channel_errors_of_the_pool_are_told(
    worker: Worker, answer: Exception, kind: type[Exception]
) -> None:
    worker.start()
    pool_of(worker).answers["work"] = answer
    told = asked(worker)
    await turns()
    assert isinstance(told[0], kind)


@pytest.mark.usefixtures("without_channel")
async def test_without_a_channel_too_nobody_waits_for_a_worker_that_is_lost(worker: Worker) -> None:
    worker.start()
    told = asked(worker)
    worker.lost()
    await turns()
    assert isinstance(told[0], BrokenExecutor)


# Its end.


def test_a_worker_that_had_no_chain_has_nothing_to_tear_down(worker: Worker) -> None:
    worker.start()
    assert worker.teardown() == []
    assert {envelope.forget, session.conclude}.isdisjoint(pool_of(worker).calls)


async def test_a_teardown_ends_the_session_and_says_what_went_wrong(worker: Worker) -> None:
    assert worker._channel is not None
    with worker._channel._theirs.dup() as theirs:
        theirs.settimeout(5)
        worker.start()
        asked(worker)
        pool_of(worker).answers["conclude"] = ["Traceback: no"], [], [("key", b"value")]
        worker.hang_up()
        assert worker.teardown() == ["Traceback: no"]
        assert worker.returned == [("key", b"value")]
        while theirs.recv(65536):  # the batch, and then the end
            pass


def test_at_its_end_it_leaves_where_it_was(worker: Worker) -> None:
    worker.start()
    worker.cursor.enter(7)
    remains = worker.end()
    assert (remains.spot.batch, remains.spot.phase) == (7, Phase.LOADING)
    assert remains.ending == "it did not say how it ended"
    with pytest.raises(ValueError, match=r".*"):
        worker.cursor.read()


class FakeProcess:
    def __init__(self, *, alive: bool) -> None:
        self.pid, self.exitcode = 5, None if alive else 3
        self._alive = alive
        self.done: list[str] = []

    def is_alive(self) -> bool:
        return self._alive

    def kill(self) -> None:
        self.done.append("kill")

    def close(self) -> None:
        self.done.append("close")


@pytest.fixture
def families(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    killed: list[int] = []
    monkeypatch.setattr(working, "kill_family", killed.append)
    return killed


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="families are killed by their group")
@pytest.mark.parametrize("alive", [True, False])
def test_only_a_living_process_is_killed_and_signalled(
    worker: Worker, families: list[int], alive: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    signals: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: signals.append((pid, number)))
    process: Any = FakeProcess(alive=alive)
    worker._context.process, worker.pid = process, 5
    worker.kill()
    worker.signal(10)
    assert (families, signals) == (([5], [(5, 10)]) if alive else ([], []))


def test_what_it_has_started_is_ended_also_after_it(worker: Worker, families: list[int]) -> None:
    process: Any = FakeProcess(alive=False)
    worker._context.process = process
    assert worker.end().ending == "it exited with code 3"
    assert (families, process.done) == ([5], ["close"])
    worker.kill()  # and nobody is killed who is put away
    assert families == [5]
