"""Children leave their worker while the generator runs: what is between it and the sink is bounded; none is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeframe_async import Delivery, Failure, PipeFrame, PipelineEngine

WHERE = pytest.mark.parametrize("executor", ["inline", "threads", "processes", "auto"])
MANY = 5_000


def children(count: int) -> Iterator[tuple[int, bool]]:
    for number in range(count):
        yield number, True


class Lines(PipelineEngine[Any, Any]):
    """Records are counts of children; remembers each list its sink has got."""

    source, timeout = "stream", None
    steps: Any = (children,)
    max_failures = None

    def __init__(self, *records: Any) -> None:
        self.records = records
        self.lists: list[list[Any]] = []
        self.failures: list[Failure[Any]] = []

    def feed(self) -> Iterator[Any]:
        yield from self.records

    def sink(self, results: list[Any]) -> None:
        self.lists.append(results)

    def dead_letter(self, failures: list[Failure[Any]]) -> None:
        self.failures += failures

    @property
    def got(self) -> list[Any]:
        return [result for results in self.lists for result in results]


@WHERE
async def test_no_list_is_longer_than_the_buffer_and_all_is_in_order(executor: Any) -> None:
    pipeline, records = Lines(3, MANY, 1, 0, MANY, 7), [3, MANY, 1, 0, MANY, 7]
    report = await PipeFrame(2, executor=executor, buffer_size=200).run(pipeline)
    assert pipeline.got == [number for count in records for number in range(count)]
    assert (report.fed, report.filtered, report.delivered) == (6, 1, 2 * MANY + 11)
    assert report.fed + report.emitted == report.delivered + report.filtered
    assert max(map(len, pipeline.lists)) <= 200


def waits_for_word(path: str) -> Iterator[tuple[int, bool]]:
    yield from children(200)
    until = time.monotonic() + 20
    while not Path(path).exists():
        assert time.monotonic() < until, "none of the children has come to the sink"
        time.sleep(0.005)
    yield -1, True


@pytest.mark.parametrize("executor", ["threads", "processes"])
async def test_the_sink_has_the_first_before_the_last_is_made(executor: Any, tmp_path: Path) -> None:
    class Answers(Lines):
        steps = (waits_for_word,)

        def sink(self, results: list[Any]) -> None:
            super().sink(results)
            (tmp_path / "word").touch()

    pipeline = Answers(str(tmp_path / "word"))
    await PipeFrame(1, executor=executor, buffer_size=100).run(pipeline)
    assert pipeline.got == [*range(200), -1]


def fails_late(count: int) -> Iterator[tuple[int, bool]]:
    yield from children(count)
    raise OSError("the file ends here")


@WHERE
@pytest.mark.parametrize("count", [20, MANY])
async def test_a_generator_that_raises_late_fails_beside_what_has_left(executor: Any, count: int) -> None:
    class Torn(Lines):
        steps = (fails_late,)

    pipeline = Torn(count, 5)
    report = await PipeFrame(1, executor=executor, buffer_size=100).run(pipeline)
    assert [(failure.record, failure.error_type) for failure in pipeline.failures] == [
        (count, "OSError"),
        (5, "OSError"),
    ]
    assert pipeline.got == list(range(len(pipeline.got)))
    assert (len(pipeline.got) > 0) == (count == MANY)
    assert report.fed + report.emitted == report.delivered + report.failed


def odd_fails(number: int) -> Any:
    if number == 7:
        raise ValueError(number)
    return number, True


async def test_a_child_that_failed_early_nacks_its_record_at_the_end() -> None:
    told: list[Any] = []

    class Acked(Lines):
        steps = (children, odd_fails)

        async def feed(self) -> AsyncIterator[Delivery[int]]:  # type: ignore[override]
            for count in (MANY, 5):
                yield Delivery(count, ack=lambda: told.append("ack"), nack=told.append)

    await PipeFrame(1, buffer_size=100).run(pipeline := Acked())
    assert (len(pipeline.got), len(pipeline.failures)) == (MANY - 1 + 5, 1)
    assert [getattr(answer, "error_type", answer) for answer in told] == ["ValueError", "ack"]


def dies_once(path: str) -> Iterator[tuple[int, bool]]:
    yield from children(MANY // 2)
    if not Path(path).exists():
        Path(path).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    yield from ((number, True) for number in range(MANY // 2, MANY))


@pytest.mark.parametrize("order", ["input", "completion"])
async def test_what_had_left_before_a_worker_died_does_not_come_again(order: Any, tmp_path: Path) -> None:
    class Dies(Lines):
        steps = (dies_once,)

    Dies.order = order
    pipeline = Dies(*(str(tmp_path / str(number)) for number in range(3)))
    report = await PipeFrame(2, buffer_size=100).run(pipeline)
    assert sorted(pipeline.got) == sorted([*range(MANY)] * 3)
    assert (pipeline.got == [*range(MANY)] * 3) or order == "completion"
    assert (report.failed, report.delivered) == (0, 3 * MANY)


def says_that_it_begins(path: str) -> Iterator[tuple[int, bool]]:
    with open(path, "a") as file:
        file.write("begun ")
    yield from children(MANY)


async def test_a_worn_worker_finishes_the_fan_out_it_has_begun(tmp_path: Path) -> None:
    class Says(Lines):
        steps = (says_that_it_begins,)

    paths = [str(tmp_path / str(number)) for number in range(4)]
    report = await PipeFrame(1, buffer_size=100, max_worker_batches=1).run(pipeline := Says(*paths))
    assert [file.read_text() for file in tmp_path.iterdir()] == ["begun "] * 4  # noqa: ASYNC240
    assert (pipeline.got, report.re_executed) == ([*range(MANY)] * 4, 0)


def closes(path: str) -> Iterator[tuple[int, bool]]:
    try:
        yield from children(10**9)
    finally:
        Path(path).touch()


@pytest.mark.parametrize("executor", ["threads", "processes"])
async def test_a_fan_out_that_nobody_wants_any_more_is_closed(executor: Any, tmp_path: Path) -> None:
    class Endless(Lines):
        steps = (closes,)

    async with PipeFrame(1, executor=executor, buffer_size=100) as frame:
        async with frame.stream(Endless(str(tmp_path / "closed"))) as results:
            async for result in results:
                if result == 1_000:
                    break
        async with asyncio.timeout(10):
            while not (tmp_path / "closed").exists():
                await asyncio.sleep(0.01)


def double(number: int) -> Any:
    return 2 * number, True


class Double(PipelineEngine[Any, Any]):
    steps = (double,)


async def test_a_consumer_that_waits_for_others_of_its_lane_is_served() -> None:
    async with PipeFrame(1, buffer_size=100) as frame, frame.stream(Lines(MANY)) as results:
        asked = [await frame.call(Double, result) async for result in results if result % 100 == 0]
    assert asked == [2 * number for number in range(0, MANY, 100)]


async def test_a_consumer_that_is_slow_holds_up_the_generator(tmp_path: Path) -> None:
    def counts(path: str) -> Iterator[tuple[int, bool]]:
        for number in range(MANY):
            Path(path).write_text(str(number))
            yield number, True

    class Counts(Lines):
        steps = (counts,)

    frame = PipeFrame(1, executor="threads", buffer_size=100)
    async with frame, frame.stream(Counts(str(tmp_path / "made"))) as results:
        assert await anext(results) == 0
        await asyncio.sleep(0.3)  # as long as one likes: nothing is to happen
        assert int((tmp_path / "made").read_text()) < 400
        assert [0, *[result async for result in results]] == [*range(MANY)]


class Shy:
    """Cannot be read in the process that has fed it."""

    def __init__(self, process: int) -> None:
        self.process = process

    def __reduce__(self) -> Any:
        return _shy, (self.process,)


def _shy(process: int) -> Shy:
    if os.getpid() == process:
        raise ValueError("not here")
    return Shy(process)


def has_a_shy_one(process: int) -> Iterator[tuple[Any, bool]]:
    yield from children(MANY // 2)
    yield Shy(process), True
    yield from ((number, True) for number in range(MANY // 2, MANY))


async def test_a_child_that_cannot_be_read_here_costs_itself() -> None:
    class OneIsShy(Lines):
        steps = (has_a_shy_one,)

    report = await PipeFrame(1, buffer_size=100).run(pipeline := OneIsShy(os.getpid(), -1))
    assert [result for result in pipeline.got if not isinstance(result, Shy)] == [*range(MANY)] * 2
    assert [(failure.record, failure.kind) for failure in pipeline.failures] == [(os.getpid(), "unpicklable")]
    assert (report.delivered, report.failed) == (2 * MANY + 1, 1)
