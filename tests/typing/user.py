"""What a user writes, with the types he expects: checked by mypy and pyright, both strict, and never run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, assert_type

import numpy as np
import numpy.typing as npt

import pipeframe_async
from pipeframe_async import (
    DROP,
    AsyncBucket,
    Bucket,
    Chunk,
    Delivery,
    Drop,
    Failure,
    PipeFrame,
    PipelineEngine,
    PipelineFailed,
    Results,
    Retry,
    RunReport,
    Stats,
    StepError,
    apply,
    expand,
    fold,
    keep_if,
    pipeline,
    stream,
    vectorize,
)
from pipeframe_async.contracts import Executor
from pipeframe_async.testing import FakeExecutor


@dataclass
class Order:
    number: int
    cents: int


def parse(line: str) -> tuple[Order, bool]:
    number, cents = line.split()
    return Order(int(number), int(cents)), True


async def enrich(order: Order) -> tuple[Order, bool]:
    return order, True


def is_paid(order: Order) -> bool:
    return order.cents > 0


async def is_known(order: Order) -> bool:
    return order.number > 0


def halves(order: Order) -> list[Order]:
    return [order, order]


async def later_halves(order: Order) -> AsyncIterator[Order]:
    yield order


def totals(orders: list[Order]) -> npt.NDArray[np.int64]:
    return np.asarray([order.cents for order in orders])


def large(totals: list[int]) -> list[int | Drop]:
    return [total if total > 100 else DROP for total in totals]


class Totals(PipelineEngine[str, int]):
    steps = [parse, vectorize(totals), vectorize(large, size=32)]


class Orders(PipelineEngine[str, Order]):
    steps = [parse, enrich, keep_if(is_paid), keep_if(is_known), expand(halves), expand(later_halves), apply(repr)]
    source = "stream"
    timeout = None
    order = "completion"
    time_limit = 1.5
    retry = Retry(3, on=(OSError,))
    max_failures = 0.01
    batch_size = 100
    async_concurrency = 8

    async def feed(self) -> AsyncIterator[str | Chunk[str] | Delivery[str]]:
        yield "1 250"
        yield Chunk(["2 99", "3 10"])
        yield Delivery("4 7", key=4, ack=self.acked, nack=self.failed)

    async def acked(self) -> None: ...

    def failed(self, failure: Failure[str] | None) -> None: ...

    async def sink(self, records: list[Order]) -> None: ...

    async def dead_letter(self, failures: list[Failure[str]]) -> None:
        for failure in failures:
            assert_type(failure.record, str)
            assert_type(failure.kind, Literal["raised", "timeout", "crashed", "unpicklable", "poison"])
            assert_type(failure.attempts, int)

    async def on_progress(self, watermark: int) -> None: ...


def first_word(line: str) -> str:
    return line.split()[0]


class Keyed(PipelineEngine[str, Order]):
    steps = [parse]
    order = first_word


class WithArguments(PipelineEngine[int, float]):
    steps = [apply(float)]

    def __init__(self, start: int) -> None:
        self.start = start


class Untold(PipelineEngine):
    """Of lambdas, and methods that are named in the class body."""

    def half(self, order: Order) -> Order:
        return order

    def halves(self, order: Order) -> list[Order]:
        return [order]

    def is_whole(self, order: Order) -> bool:
        return order.cents % 100 == 0

    def totals(self, orders: list[Order]) -> list[int | Drop]:
        return [order.cents if order.cents else DROP for order in orders]

    steps = [
        apply(lambda n: n * n),
        apply(lambda order: order.cents),
        keep_if(lambda order: order.cents > 0),
        expand(lambda order: [order, order]),
        vectorize(lambda orders: [order.cents for order in orders]),
        vectorize(lambda orders: np.asarray(orders) * 2, size=16),
        apply(half),
        expand(halves),
        keep_if(is_whole),
        vectorize(totals),
    ]


class FromBucket(PipelineEngine[str, Order | Drop]):
    steps = [parse]

    async def feed(self, bucket: AsyncBucket[str]) -> None:
        await bucket.put("1 250")
        await bucket.put(Chunk(["2 99"]))


def last(results: Results) -> None:
    assert_type(results, Results[Any])


class FromBlockingBucket(PipelineEngine[str]):
    steps = [parse]

    def feed(self, bucket: Bucket[str]) -> None:
        bucket.put("1 250")
        bucket.put(Delivery("2 99", ack=lambda: print("taken")))


async def totals_of(results: Results[Order]) -> int:
    return sum([order.cents async for order in results])


async def use_of_what_is_untold(frame: PipeFrame) -> None:
    assert_type(await frame.run(Untold, range(3)), RunReport)
    assert_type(await frame.call(Untold, 3), Any)
    assert_type(await frame.call(FromBucket, "1 2"), Order | Drop)
    async with frame.stream(Orders) as results:
        await totals_of(results)


async def use() -> None:
    frame = PipeFrame(cpu_count=2, buffer_size=100)
    assert_type(await frame.run(Orders), RunReport)
    assert_type(await frame.run(Orders(), ["1 2"]), RunReport)
    assert_type(await frame.run(Orders, feed=lambda: ["1 2"]), RunReport)
    async with frame.stream(Orders) as results:
        async for result in results:
            assert_type(result, Order)
        assert_type(results.report, RunReport)
    async with frame.stream(WithArguments(3), range(3)) as numbers:
        assert_type(await anext(numbers), float)
    fake = FakeExecutor(2, delay=0.1)
    own: Executor = fake
    PipeFrame(executor=fake)
    PipeFrame(executor=own)
    PipeFrame(executor=ThreadPoolExecutor(2))
    PipeFrame(executor="threads")
    async with PipeFrame() as warm:
        assert_type(warm, PipeFrame)
        assert_type(await warm.call(Orders, "1 2"), Order)
        assert_type(await warm.call(WithArguments(3), 7), float)
    assert_type(frame.stats(), Stats)


def with_cents(total: int, order: Order) -> int:
    return total + order.cents


def short() -> None:
    fold(lambda so_far, square: so_far + square, 0)
    for order in stream(Orders, ["1 2"], cpu_count=2):
        assert_type(order, Order)
    made = pipeline(apply(lambda n: n * n), keep_if(is_paid), order=lambda n: n % 2, sink=print, max_failures=None)
    assert_type(list(stream(made, range(3))), list[Any])
    total = fold(with_cents, 0)
    assert_type(total.value, int)
    pipeline(parse, sink=total, order="completion", setup=lambda: None)


def script() -> None:
    assert_type(pipeframe_async.run(Orders, cpu_count=2), RunReport)
    try:
        pipeframe_async.run(WithArguments(3), [1, 2, 3])
    except PipelineFailed as error:
        failures: Sequence[Failure[int]] = error.failures
        assert_type(error.report, RunReport | None)
        del failures
    except StepError as error:
        if error.failure is not None:
            assert_type(error.failure.message, str)
