"""Log records of this process say where in a pipeline they come from, while an executor runs steps here."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from pipeframe_async import PipeFrame, PipelineEngine
from pipeframe_async._worker import envelope
from pipeframe_async._worker.codec import dumps
from pipeframe_async.executors import attributes
from pipeframe_async.executors.inline import InlineExecutor
from pipeframe_async.executors.threads import ThreadsExecutor
from pipeframe_async.wire import ChainSpec, Packed, Reply

NAMES = ("step", "position", "worker", "pipeline")
log = logging.getLogger("tests.attributes")


def step(record: int) -> tuple[int, bool]:
    log.warning("%d", record)
    return record, True


CHAIN = ChainSpec(("step",), (step,), None, pipeline_name="Orders")


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nobody else's executor is in use, though other tests may have left theirs open."""
    before = logging.getLogRecordFactory()
    monkeypatch.setattr(attributes, "_users", 0)
    monkeypatch.setattr(attributes, "_installed", None)
    logging.setLogRecordFactory(logging.LogRecord)
    yield
    envelope.forget()
    factory, users = logging.getLogRecordFactory(), attributes._users
    logging.setLogRecordFactory(before)
    assert factory is logging.LogRecord
    assert not users


def told(record: logging.LogRecord) -> list[Any]:
    return [vars(record).get(f"pipeframe_{name}", "nothing") for name in NAMES]


async def ran(executor: InlineExecutor | ThreadsExecutor) -> None:
    chain = executor.load(CHAIN)
    batch = Packed(2, dumps([1, 2]), positions=range(40, 42))
    assert isinstance(await executor.lanes[0].run(chain, 1, batch, ship=False), Reply)
    log.warning("not of a step")
    await executor.close(kill=False, timeout=5)


async def test_what_a_step_on_the_loop_logs_says_where_it_was(caplog: pytest.LogCaptureFixture) -> None:
    await ran(InlineExecutor())
    assert [told(record) for record in caplog.records] == [
        ["step", 40, "the event loop", "Orders"],
        ["step", 41, "the event loop", "Orders"],
        ["nothing"] * 4,
    ]


async def test_what_a_step_in_a_thread_logs_says_so_too(caplog: pytest.LogCaptureFixture) -> None:
    await ran(ThreadsExecutor(2))
    assert [told(record) for record in caplog.records][:2] == [
        ["step", 40, "pipeframe-step_0", "Orders"],
        ["step", 41, "pipeframe-step_0", "Orders"],
    ]


def test_a_factory_of_the_programs_is_called_and_is_there_again_afterwards() -> None:
    made: list[str] = []
    before = logging.getLogRecordFactory()

    def factory(*args: Any, **named: Any) -> logging.LogRecord:
        made.append(args[0])
        return before(*args, **named)

    logging.setLogRecordFactory(factory)
    attributes.enter()
    attributes.enter()
    log.warning("a line")
    attributes.leave()
    attributes.leave()
    assert (made, logging.getLogRecordFactory()) == (["tests.attributes"], factory)
    logging.setLogRecordFactory(before)


def test_one_that_was_put_on_top_stays_and_ours_does_nothing_below_it() -> None:
    before = logging.getLogRecordFactory()
    attributes.enter()
    ours = logging.getLogRecordFactory()
    logging.setLogRecordFactory(lambda *args, **named: ours(*args, **named))
    attributes.leave()
    assert logging.getLogRecordFactory() is not ours
    with attributes.given({"pipeframe_step": "step"}):  # it is in use again, in its place
        assert logging.getLogRecordFactory() is not ours
    logging.setLogRecordFactory(ours)
    attributes.enter()
    attributes.leave()
    assert logging.getLogRecordFactory() is before


def test_what_is_given_is_on_what_this_thread_logs(caplog: pytest.LogCaptureFixture) -> None:
    with attributes.given({"pipeframe_step": "step"}):
        log.warning("inside")
    log.warning("outside")
    assert [told(record)[0] for record in caplog.records] == ["step", "nothing"]


def test_a_position_that_is_not_known_is_none() -> None:
    assert attributes.found_at(range(2), 5, "step", "lane 0", None)["pipeframe_position"] is None
    assert attributes.found_at(None, 0, "step", "lane 0", None)["pipeframe_position"] is None
    assert attributes.found_at(range(2), None, "step", "lane 0", None)["pipeframe_position"] is None


@pytest.mark.parametrize("executor", ["threads", "inline"])
async def test_what_teardown_logs_says_where_it_comes_from(executor: str, caplog: pytest.LogCaptureFixture) -> None:
    class Leaves(PipelineEngine[int, int]):
        steps = (step,)
        source = "stream"

        def teardown(self) -> None:
            log.warning("left")

    await PipeFrame(1, executor=executor).run(Leaves, [1])
    (record,) = [record for record in caplog.records if record.message == "left"]
    assert (vars(record)["pipeframe_step"], vars(record)["pipeframe_pipeline"]) == ("teardown", "Leaves")
