"""What a source decodes and a sink encodes with: in the workers, as steps that have names."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from pipeframe_async import DROP, ConfigError, Failure, PipeFrame, PipelineEngine, Retry, apply, expand, keep_if
from pipeframe_async.plan import feed_of, plan_of

WHERE = pytest.mark.parametrize("executor", ["inline", "threads", "processes", "auto"])


class Lines:
    """A source of lines of JSON."""

    def __init__(self, *lines: str) -> None:
        self.lines = lines

    def __iter__(self) -> Iterator[bytes]:
        return iter([line.encode() for line in self.lines])

    @staticmethod
    def decode(raw: bytes) -> Any:
        return json.loads(raw)


class Written:
    """A sink of lines of JSON, each with the process that has written it."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, int]] = []

    async def write(self, lines: list[tuple[str, int]]) -> None:
        self.lines += lines

    @property
    def texts(self) -> list[str]:
        return [text for text, _ in self.lines]

    @staticmethod
    def encode(record: Any) -> tuple[str, int]:
        return json.dumps(record), os.getpid()


def double(record: Any) -> tuple[Any, bool]:
    return record * 2, True


def bypass_odd(record: int) -> tuple[int, bool]:
    return record, record % 2 == 0


def by_kind(record: int) -> Any:
    match record:
        case 0:
            return DROP
        case 1:
            return record, False
    return record, True


def children(record: int) -> Iterator[tuple[int, bool]]:
    for number in range(record):
        yield number, number % 2 == 0


async def add_on_the_loop(record: int) -> tuple[int, bool]:
    await asyncio.sleep(0)
    return record + 1, True


async def bypass_odd_on_the_loop(record: int) -> tuple[int, bool]:
    return record, record % 2 == 0


class Numbers(PipelineEngine[Any, Any]):
    steps: Any = (double,)
    source = "stream"
    timeout = None
    max_failures: Any = None

    def __init__(self, *lines: str, **knobs: Any) -> None:
        self.feed: Any = Lines(*lines)
        self.sink: Any = Written()
        self.dead: list[Failure[Any]] = []
        for name, value in knobs.items():
            setattr(self, name, value)

    async def dead_letter(self, failures: list[Failure[Any]]) -> None:
        self.dead += failures


async def ran(pipeline: Numbers, executor: str = "inline") -> Any:
    return await PipeFrame(executor=executor, cpu_count=1).run(pipeline)


@WHERE
async def test_records_are_decoded_before_the_first_step_and_results_encoded_behind_the_last(executor: str) -> None:
    numbers = Numbers("1", "[2]", '"x"')
    report = await ran(numbers, executor)
    assert numbers.sink.texts == ["2", "[2, 2]", '"xx"']
    assert [step.name for step in report.steps] == ["decode", "double", "encode"]
    assert [step.calls for step in report.steps] == [3, 3, 3]
    assert len({step.where for step in report.steps}) == 1


async def test_they_run_in_the_workers() -> None:
    numbers = Numbers("1", "2")
    await ran(numbers, "processes")
    assert {pid for _, pid in numbers.sink.lines}.isdisjoint({os.getpid()})


@WHERE
async def test_what_cannot_be_decoded_is_that_records_failure_with_its_raw_value(executor: str) -> None:
    numbers = Numbers("1", "{", "3")
    report = await ran(numbers, executor)
    assert (report.delivered, report.failed) == (2, 1)
    [failure] = numbers.dead
    assert (failure.record, failure.step, failure.error_type) == (b"{", "decode", "JSONDecodeError")


@WHERE
async def test_what_cannot_be_encoded_is_that_records_failure(executor: str) -> None:
    numbers = Numbers("1", "2", "3", steps=[apply(lambda number: number if number != 2 else {1, 2})])
    report = await ran(numbers, executor)
    assert (numbers.sink.texts, report.failed) == (["1", "3"], 1)
    assert (numbers.dead[0].record, numbers.dead[0].step) == (b"2", "encode")


@WHERE
async def test_what_bypasses_steps_is_encoded_all_the_same(executor: str) -> None:
    numbers = Numbers(*map(str, range(40)), steps=[bypass_odd, double])
    report = await ran(numbers, executor)
    assert numbers.sink.texts == [str(n if n % 2 else 2 * n) for n in range(40)]
    assert (report.bypassed, report.delivered) == (20, 40)
    assert [step.calls for step in report.steps] == [40, 40, 20, 40]


@WHERE
async def test_children_are_encoded_each_and_those_that_bypass_steps_too(executor: str) -> None:
    numbers = Numbers("3", "0", "2", steps=[children, double])
    report = await ran(numbers, executor)
    assert numbers.sink.texts == ["0", "1", "4", "0", "1"]
    assert (report.bypassed, report.filtered, report.delivered) == (2, 1, 5)


@WHERE
async def test_a_child_that_cannot_be_encoded_fails_by_itself(executor: str) -> None:
    numbers = Numbers("3", steps=[expand(lambda n: [1, {n}, 3])])
    await ran(numbers, executor)
    assert numbers.sink.texts == ["1", "3"]
    assert numbers.dead[0].child is not None
    assert (numbers.dead[0].step, numbers.dead[0].child.path) == ("encode", (1,))


@WHERE
async def test_what_a_step_filters_is_not_encoded(executor: str) -> None:
    numbers = Numbers("0", "1", "2", steps=[by_kind])
    report = await ran(numbers, executor)
    assert (numbers.sink.texts, report.filtered) == (["1", "2"], 1)


@WHERE
async def test_next_to_async_steps_they_are_called_on_the_loop_and_the_report_says_so(executor: str) -> None:
    numbers = Numbers("1", "{", "3", steps=[add_on_the_loop])
    report = await ran(numbers, executor)
    assert (numbers.sink.texts, report.failed) == (["2", "4"], 1)
    assert [(step.name, step.where) for step in report.steps] == [
        ("decode", "loop"),
        ("add_on_the_loop", "loop"),
        ("encode", "loop"),
    ]
    assert (numbers.dead[0].record, numbers.dead[0].step) == (b"{", "decode")


@WHERE
async def test_at_each_end_they_go_where_their_neighbour_is(executor: str) -> None:
    numbers = Numbers("1", "2", steps=[double, add_on_the_loop])
    report = await ran(numbers, executor)
    assert numbers.sink.texts == ["3", "5"]
    assert [step.where == "loop" for step in report.steps] == [False, False, True, True]


@WHERE
@pytest.mark.parametrize(
    "steps",
    [
        [bypass_odd, add_on_the_loop],
        [bypass_odd_on_the_loop, add_on_the_loop],
        [add_on_the_loop, bypass_odd, double],
        [bypass_odd_on_the_loop, double],
        [bypass_odd, add_on_the_loop, double],
    ],
)
async def test_what_bypasses_steps_is_encoded_whatever_follows(steps: list[Any], executor: str) -> None:
    numbers = Numbers(*map(str, range(20)), steps=steps)
    plain = Numbers(*map(str, range(20)), steps=steps, sink=Plain())
    report, like = await ran(numbers, executor), await ran(plain, executor)
    assert numbers.sink.texts == [json.dumps(record) for record in plain.sink.records]
    assert (report.bypassed, report.delivered) == (like.bypassed, like.delivered)


class Plain:
    """A sink that encodes nothing."""

    def __init__(self) -> None:
        self.records: list[Any] = []

    async def write(self, records: list[Any]) -> None:
        self.records += records


async def test_one_that_bypasses_steps_and_cannot_be_encoded_on_the_loop_fails() -> None:
    numbers = Numbers("1", "2", steps=[apply(lambda n: {n}), bypass_all, add_on_the_loop])
    report = await ran(numbers)
    assert (report.failed, [failure.step for failure in numbers.dead]) == (2, ["encode", "encode"])
    assert [failure.record for failure in numbers.dead] == [b"1", b"2"]


def bypass_all(record: Any) -> tuple[Any, bool]:
    return record, False


@WHERE
async def test_a_key_is_asked_for_of_the_decoded_record(executor: str) -> None:
    numbers = Numbers('{"of": 1}', "{", '{"of": 2}', steps=[keep_if(bool)], order=lambda record: record["of"])
    report = await ran(numbers, executor)
    assert (report.delivered, [failure.step for failure in numbers.dead]) == (2, ["decode"])


@WHERE
async def test_a_decode_that_fails_is_tried_again_where_steps_are(executor: str) -> None:
    numbers = Numbers("1", "{", retry=Retry(2, backoff=0.001))
    report = await ran(numbers, executor)
    assert (report.delivered, report.retried, numbers.dead[0].attempts) == (1, 1, 2)


async def test_calls_have_neither() -> None:
    async with PipeFrame(executor="inline") as frame:
        assert await frame.call(Numbers("1"), 7) == 14


async def test_a_stream_has_no_sink_and_so_does_not_encode() -> None:
    async with PipeFrame(executor="inline").stream(Numbers("1", "2")) as results:
        assert [result async for result in results] == [2, 4]


async def test_a_source_that_is_passed_or_returned_decodes_too() -> None:
    numbers = Numbers()
    await PipeFrame(executor="inline").run(numbers, Lines("4"))
    await PipeFrame(executor="inline").run(numbers, lambda: Lines("5"))
    assert numbers.sink.texts == ["8", "10"]


@pytest.mark.parametrize(
    ("attribute", "value", "says"),
    [
        ("decode", 5, "must be a def function"),
        ("decode", add_on_the_loop, "must be a def function"),
        ("decode", children, "must be a def function"),
        ("decode", lambda: None, "cannot be called with one record"),
        ("encode", lambda one, two: None, "cannot be called with one record"),
    ],
)
async def test_what_can_be_neither_is_refused_before_anything_starts(attribute: str, value: Any, says: str) -> None:
    numbers = Numbers("1")
    setattr(numbers.feed if attribute == "decode" else numbers.sink, attribute, value)
    with pytest.raises(ConfigError, match=f"of Numbers|Numbers.sink.*{says}"):
        await ran(numbers)


async def test_an_open_file_is_no_sink(tmp_path: Any) -> None:
    with (tmp_path / "out").open("w") as file, pytest.raises(ConfigError, match=r"pipeframe_async\.sinks"):
        await ran(Numbers("1", sink=file))


class Streams(Lines):
    """A source that has its own end."""

    streams = True


class Live(Lines):
    """A source that goes on."""

    live = True


class Silent(PipelineEngine[Any, Any]):
    """A pipeline that says nothing of how it is fed."""

    steps = (double,)


class Says(Silent):
    """One that says it all."""

    source = "batch"
    timeout = 5.0
    order = "input"
    max_failures = 3


def test_a_live_source_brings_its_defaults_and_the_class_can_say_otherwise() -> None:
    live, silent = Live("1"), Silent()
    plan = plan_of(silent, feed_of(silent, live))
    assert (plan.source, plan.timeout, plan.order, plan.max_failures) == ("stream", None, "completion", None)
    plan = plan_of(silent, feed_of(silent, Streams("1")))
    assert (plan.source, plan.timeout, plan.order, plan.max_failures) == ("stream", None, "input", 0)
    plan = plan_of(silent, feed_of(silent, Lines("1")))
    assert (plan.source, plan.timeout, plan.order, plan.max_failures) == ("batch", 2.0, "input", 0)
    said = Says()
    plan = plan_of(said, feed_of(said, live))
    assert (plan.source, plan.timeout, plan.order, plan.max_failures) == ("batch", 5.0, "input", 3)
