"""The fake source finds each wrong answer, and none where a run is as it should be."""

from __future__ import annotations

from typing import Any

import pytest

from pipeframe_async import DROP, Delivery, FeedError, PipeFrame, PipelineEngine, expand
from pipeframe_async.testing import FakeSource, conform_source, faults, raising, sink_error, try_records


def some(record: int) -> Any:
    if record == 3:
        raise ValueError("three")
    return DROP if record == 2 else (record, True)


class Some(PipelineEngine[int, int]):
    steps: Any = (some,)
    max_failures = None


class Many(Some):
    steps = (some, expand(range))


@pytest.mark.parametrize("pipeline", [Some, Many])
async def test_the_answers_of_a_run_are_good(pipeline: type[Some]) -> None:
    source = FakeSource(range(6))
    await try_records(pipeline, source)
    source.check()
    assert sorted(source.acked) == list(range(6))  # the dead letter of a try has the failure


async def test_a_failure_that_nobody_has_is_nacked() -> None:
    source = FakeSource(range(6))
    await PipeFrame(executor="inline").run(source.watched(Some))
    source.check()
    assert (sorted(source.acked), source.nacked) == ([0, 1, 2, 4, 5], [3])


async def test_answers_are_good_where_records_have_faults() -> None:
    source = FakeSource(range(6))
    with faults(raising(at=1)) as injected:
        out = await try_records(Some, source)
    source.check()
    injected.check()
    assert sorted(failure.record for failure in out.failures) == [1, 3]


async def test_what_a_sink_did_not_take_is_nacked() -> None:
    source = FakeSource(range(2))
    with faults(sink_error(at=1)), pytest.raises(Exception, match="sink_error"):
        await try_records(Some, source)
    source.check()
    assert 1 in source.nacked


async def deliveries(source: FakeSource[int]) -> list[Delivery[int]]:
    return [delivery async for delivery in source]


def found(source: FakeSource[int]) -> str:
    with pytest.raises(AssertionError) as caught:
        source.check()
    return str(caught.value)


async def test_a_record_that_is_never_answered_is_named() -> None:
    source = FakeSource([7])
    await deliveries(source)
    assert found(source) == "record 0 (7) was never answered"


async def test_a_record_that_is_answered_twice_is_named() -> None:
    source = FakeSource([7])
    (one,) = await deliveries(source)
    assert one.ack is not None
    assert one.nack is not None
    one.ack()
    one.nack(None)
    assert found(source) == "record 0 (7) was answered twice"


class Stores(Some):
    async def sink(self, records: list[int]) -> None: ...

    async def dead_letter(self, failures: list[Any]) -> None: ...


async def test_an_ack_before_the_sink_has_all_results_is_too_early() -> None:
    source = FakeSource([7])
    watched: Any = source.watched(Stores)
    (one,) = await deliveries(source)
    await watched.sink.write(["a"], [0])
    assert one.outcome is not None
    assert one.ack is not None
    one.outcome(["a", "b"], None)
    one.ack()
    assert found(source) == "record 0 (7) was acked when the sink had taken 1 of its 2 results"


async def test_an_ack_of_a_failure_that_nobody_has_is_too_early_and_a_nack_of_one_that_somebody_has_is_wrong() -> None:
    failures = (await try_records(Some, [3, 3])).failures
    source = FakeSource([3, 3])
    watched: Any = source.watched(Stores)
    for delivery, failure in zip(await deliveries(source), failures, strict=True):
        assert delivery.outcome is not None
        delivery.outcome([], failure)
    first, second = source._acked, source._nacked
    first(0)
    await watched.dead_letter.write(failures[1:])
    source._dead[:] = failures[1:]
    second(1, failures[1])
    assert "record 0 (3) was acked, and nobody has its failure" in found(source)
    assert "record 1 (3) was nacked, and the dead letter has its failure" in found(source)


async def test_an_answer_when_the_source_is_closed_is_too_late() -> None:
    source = FakeSource([7])
    async with source:
        (one,) = await deliveries(source)
    assert one.ack is not None
    one.ack()
    assert "answered when the source was closed" in found(source)


async def test_it_is_for_one_run() -> None:
    source = FakeSource([1])
    await try_records(Some, source)
    with pytest.raises(FeedError, match="for one run"):
        await try_records(Some, source)


def test_it_is_a_source_as_others_are() -> None:
    conform_source(lambda: FakeSource(range(5)), records=5).check()


class Blocks:
    """A sink with a life, an `encode`, and a `write` that blocks."""

    def __init__(self) -> None:
        self.said: list[Any] = []

    def __enter__(self) -> None:
        self.said.append("entered")

    def __exit__(self, *error: object) -> None:
        self.said.append("left")

    encode = staticmethod(str)

    def write(self, records: list[str], keys: list[Any]) -> None:
        self.said.append((records, keys))


async def test_a_sink_that_is_watched_is_opened_closed_and_encodes_as_ever() -> None:
    class Writes(Some):
        sink = Blocks()

    source = FakeSource([0, 1])
    with faults(raising(at=0, times=1)) as injected:
        await PipeFrame(executor="inline").run(injected.wrapped(source.watched(Writes), executor="inline"))
    source.check()
    assert Writes.sink.said == ["entered", (["1"], [1]), "left"]
