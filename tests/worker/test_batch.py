"""A batch is read whole or record by record, and what came of it is written the same way."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pipeframe_async._worker import codec
from pipeframe_async._worker.batch import Batch, reply_of
from pipeframe_async._worker.chain import Chain
from pipeframe_async._worker.cursor import INDEX, Cursor
from pipeframe_async.wire import ChainSpec, Live, Payload, Phase, Portions, Reply

NUMBERS = [1, 2, 3, 4]
BAD = b"no pickle"


def batch_of(data: Payload, step: Callable[[Any], Any], **options: Any) -> Batch:
    chain = Chain(ChainSpec(("step",), (step,), None))
    return Batch(chain, data, options.pop("stretch", None), True, Cursor(), **options)


def ran(batch: Batch, whole: Callable[[Any], Any] = codec.dumps) -> Reply:
    batch.read()
    batch.chain.run(batch.records, batch.cells, batch.tally)
    return reply_of(batch, batch.tally, len(batch.records) - batch.tally.first, batch.cells, whole=whole)


def frames(*values: Any) -> tuple[bytes, ...]:
    return tuple(BAD if value is None else pickle.dumps(value) for value in values)


def same(record: Any) -> Any:
    return record, True


def odd_only(record: Any) -> Any:
    if record % 2 == 0:
        record = [record]
        raise ValueError(record)
    return record, True


@pytest.mark.parametrize("stretch", [None, (0, 4), (1, 2), (3, 1)])
def test_of_one_pickle_a_stretch_is_read(stretch: tuple[int, int] | None) -> None:
    batch = batch_of(pickle.dumps(NUMBERS), same, stretch=stretch)
    batch.read()
    start, count = stretch or (0, 4)
    assert batch.records == NUMBERS[start : start + count]
    assert not batch.gaps
    assert batch.cursor.read().phase is Phase.READING


def test_a_record_that_cannot_be_read_leaves_a_gap_and_the_others_keep_their_indices() -> None:
    batch = batch_of(frames(1, None, 2, 3, None), odd_only)
    reply = ran(batch)
    assert [(failure.at, failure.kind) for failure in reply.failures] == [
        (1, "unpicklable"),
        (2, "raised"),
        (4, "unpicklable"),
    ]
    assert [failure.record for failure in reply.failures] == [BAD, pickle.dumps(2), BAD]
    assert (reply.records, reply.delivered, reply.owners()) == (5, 2, [0, 3])
    batch.cells[INDEX] = 1
    assert batch.cursor.read().at == 2


def test_a_failure_has_its_record_as_it_was_fed() -> None:
    reply = ran(batch_of(pickle.dumps(NUMBERS), odd_only, stretch=(1, 3)))
    assert [pickle.loads(failure.record or b"") for failure in reply.failures] == [2, 4]
    live = ran(batch_of(Live([2]), odd_only), whole=Live)
    assert [failure.record for failure in live.failures] == [None]


def test_a_result_that_cannot_be_written_fails_its_record_and_the_others_come_in_frames() -> None:
    reply = ran(batch_of(pickle.dumps(NUMBERS), lambda n: (n if n % 2 else lambda: n, n < 3)))
    assert isinstance(reply.results, tuple)
    assert [pickle.loads(frame) for frame in reply.results] == [1, 3]
    assert [(failure.at, failure.kind) for failure in reply.failures] == [(1, "unpicklable"), (3, "unpicklable")]
    assert (reply.bypass_at, reply.owners()) == ((1,), [0, 2])


def fans(count: int) -> Iterator[tuple[int, bool]]:
    yield from ((number, True) for number in range(count))


def test_one_that_goes_on_is_not_read_again_and_counts_on() -> None:
    batch = batch_of(pickle.dumps([6]), fans, portions=Portions(3, 2**30))
    batch.read()
    batch.chain.run(batch.records, batch.cells, batch.tally)
    portion = batch.tally.cut()
    first = reply_of(batch, portion, 0, batch.cells)._replace(suspended=1)
    batch.data = BAD
    batch.goes_on(Cursor())
    last = ran(batch)
    assert (first.records, first.grown, first.owners()[:3], first.opened) == (0, {0: 3}, [0, 0, 0], 0)
    assert (last.first, last.records, last.delivered) == (0, 1, 3)


def test_with_gaps_all_comes_in_one_piece() -> None:
    batch = batch_of(frames(None, 9), fans, portions=Portions(3, 2**30))
    reply = ran(batch)
    assert (batch.tally.under_way, reply.delivered, reply.owners()) == (None, 9, [1] * 9)
