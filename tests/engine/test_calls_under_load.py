"""More calls than there is time for: who is refused, who goes first, who is never begun; on the virtual clock."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeframe_async import Overloaded, PipeFrame, PipelineEngine, Retry
from pipeframe_async._engine.calls import Calls
from pipeframe_async._engine.desk import Desk
from pipeframe_async.testing import FakeExecutor, VirtualClockLoop, run_virtual
from tests.engine.harness import FakeFrame, Through, now, passing

virtual = pytest.mark.virtual_clock

EACH = 0.02
"""Seconds of a record, as the lanes of these tests take them."""


def begun(record: Any) -> tuple[Any, bool]:
    begins.append(record)
    return record, True


begins: list[Any] = []


@pytest.fixture(autouse=True)
def none_begun() -> None:
    begins.clear()


class Passing(PipelineEngine[Any, Any]):
    steps: Sequence[Callable[..., object]] = (begun,)


async def waits(record: Any) -> tuple[Any, bool]:
    await asyncio.sleep(EACH)
    return record, True


def twice(record: Any) -> Iterator[tuple[Any, bool]]:
    yield record, True
    yield record, True


def each_takes(seconds: float = EACH, lanes: int = 1) -> FakeExecutor:
    return FakeExecutor(lanes, delay=lambda number, records: seconds * records)


@asynccontextmanager
async def opened(executor: FakeExecutor | None = None, **options: Any) -> AsyncIterator[FakeFrame]:
    """A warm frame of one lane; when it is closed nothing is left."""
    async with FakeFrame(executor or each_takes(), **options) as frame:
        yield frame
        desk = desk_of(frame)
    assert (desk.waiting, desk.running) == (0, 0)
    assert frame.stats().in_flight == 0


def desk_of(frame: PipeFrame) -> Desk:
    assert frame._desk is not None
    return frame._desk


class Answers:
    """What callers came to: seconds to the answers, and to the refusals; of those also when to come again."""

    def __init__(self) -> None:
        self.good: list[float] = []
        self.refused: list[float] = []
        self.again: list[float] = []

    async def call(self, frame: PipeFrame, pipeline: Any, record: Any = 0, **options: Any) -> None:
        began = now()
        try:
            await frame.call(pipeline, record, **options)
        except Overloaded as error:
            self.refused.append(now() - began)
            self.again.append(error.retry_after)
        else:
            self.good.append(now() - began)


async def offered(frame: PipeFrame, pipeline: Any, *, every: float, seconds: float, **options: Any) -> Answers:
    """Calls at an even pace, whatever comes of them."""
    answers = Answers()
    async with asyncio.TaskGroup() as group:
        until = now() + seconds
        while now() < until:
            group.create_task(answers.call(frame, pipeline, **options))
            await asyncio.sleep(every)
    return answers


def spread(pipeline: str) -> Any:
    return {
        "def": Passing,
        "async first": Through(steps=[waits, begun]),
        "async last": Through(steps=[begun, waits]),
        "by key": Through(steps=[begun], order=lambda record: record % 3),
        "retries": Through(steps=[begun], retry=Retry(2, backoff=0.01)),
        "fan-out": Through(steps=[twice]),
    }[pipeline]


@virtual
@pytest.mark.parametrize("kind", ["def", "async first", "async last", "by key", "retries", "fan-out"])
async def test_at_three_times_the_capacity_those_let_in_are_in_time_and_no_work_is_lost(kind: str) -> None:
    pipeline = spread(kind)
    async with opened() as frame:
        await offered(frame, pipeline, every=2 * EACH, seconds=2.0)
        answers = await offered(frame, pipeline, every=EACH / 3, seconds=20.0, deadline=0.5)
        assert max(answers.good) <= 1.5 * 0.5
        assert len(answers.good) >= 0.9 * 20.0 / EACH
        assert sum(after == 0.0 for after in answers.refused) >= 0.9 * len(answers.refused)
        assert min(answers.again) >= 0.1


@virtual
async def test_where_async_steps_are_the_bottleneck_their_places_are_what_is_counted() -> None:
    pipeline = Through(steps=[waits], async_concurrency=1)
    async with opened() as frame:
        await offered(frame, pipeline, every=2 * EACH, seconds=2.0)
        answers = await offered(frame, pipeline, every=EACH / 3, seconds=10.0, deadline=0.5)
        assert max(answers.good) <= 1.5 * 0.5
        assert len(answers.good) >= 0.9 * 10.0 / EACH
        assert sum(after == 0.0 for after in answers.refused) >= 0.9 * len(answers.refused)


@virtual
async def test_before_anything_was_measured_nobody_is_refused_but_those_late_are_never_begun() -> None:
    async with opened(FakeExecutor(1, delay=1.0, slots=2)) as frame:
        answers = Answers()
        async with asyncio.TaskGroup() as group:
            for record in range(5):
                group.create_task(answers.call(frame, Passing, record, deadline=0.5))
                await asyncio.sleep(0.01)
        assert (len(answers.good), len(answers.refused)) == (1, 4)
        assert answers.refused == pytest.approx([0.5] * 4)
        await asyncio.sleep(5.0)
        assert begins == [0]
        assert desk_of(frame).rejected == {"Passing": 4}


@virtual
@pytest.mark.parametrize("steps", [[begun], [waits, begun]])
async def test_a_loop_that_was_busy_at_a_deadline_begins_nothing_after_it(steps: Any) -> None:
    """Timers run late then, and a lane may be free before they have."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualClockLoop)
    pipeline = Through(steps=steps, async_concurrency=1)
    async with opened(FakeExecutor(1, delay=0.01)) as frame:
        assert await frame.call(pipeline, 0) == 0
        answers = Answers()
        async with asyncio.TaskGroup() as group:
            for record in range(1, 4):
                group.create_task(answers.call(frame, pipeline, record, deadline=0.5))
            await asyncio.sleep(0.001)
            loop._now += 0.6  # as if something had held it for so long
        assert len(answers.refused) >= 2
        assert len(answers.good) == len(begins) - 1


@virtual
async def test_what_has_begun_is_finished_and_its_answer_given_however_late() -> None:
    async with opened(FakeExecutor(1, delay=3.0)) as frame:
        assert await frame.call(Passing, 7, deadline=0.5) == 7
        assert now() == pytest.approx(3.0)


@virtual
async def test_a_full_queue_refuses_at_once_also_who_has_no_deadline() -> None:
    async with opened(FakeExecutor(1, delay=1.0), call_queue=3) as frame:
        at_work = asyncio.ensure_future(frame.call(Passing, 0))
        await asyncio.sleep(0.1)
        waiting = [asyncio.ensure_future(frame.call(Passing, n)) for n in (1, 2, 3)]
        await asyncio.sleep(0.1)
        desk = desk_of(frame)
        assert (desk.waiting, desk.running, desk.refusing) == (3, 1, False)
        with pytest.raises(Overloaded, match=r"3 calls wait, and no more may \(call_queue=3\)") as caught:
            await frame.call(Passing, 4)
        assert caught.value.retry_after >= 0.1
        assert (desk.rejected, desk.refusing) == ({"Passing": 1}, True)
        assert await asyncio.gather(at_work, *waiting) == [0, 1, 2, 3]
        assert not desk.refusing


@virtual
async def test_as_many_come_in_one_turn_of_the_loop_as_there_are_places() -> None:
    """They are counted as they come, not when somebody has looked."""
    async with opened(FakeExecutor(1, delay=1.0), call_queue=20) as frame:
        await frame.call(Passing, 0)
        came = await asyncio.gather(*(frame.call(Passing, n) for n in range(400)), return_exceptions=True)
        assert sum(isinstance(one, Overloaded) for one in came) == 380


@virtual
async def test_bulk_calls_do_not_take_the_places_of_others() -> None:
    async with opened(FakeExecutor(1, delay=1.0), call_queue=2) as frame:
        calls = [asyncio.ensure_future(frame.call(Passing, n, bulk=True)) for n in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await frame.call(Passing, 9, bulk=True)
        assert await frame.call(Passing, 5) == 5
        await asyncio.gather(*calls)


@virtual
async def test_calls_go_before_bulk_calls_and_these_keep_a_share() -> None:
    async with opened(call_queue=10_000) as frame:
        await offered(frame, Passing, every=2 * EACH, seconds=1.0)
        bulk = [asyncio.ensure_future(frame.call(Passing, "bulk", bulk=True)) for _ in range(1000)]
        await asyncio.sleep(EACH)
        begins.clear()
        began = now()
        async with asyncio.TaskGroup() as group:
            while now() < began + 20.0:
                group.create_task(frame.call(Passing, "call"))
                await asyncio.sleep(EACH)  # all that there is
        share = begins.count("bulk") / len(begins)
        assert 0.08 <= share <= 0.2
        await asyncio.gather(*bulk)


@virtual
async def test_calls_go_before_a_run_and_it_keeps_a_share() -> None:
    async with opened(each_takes(0.005)) as frame:
        run = asyncio.ensure_future(frame.run(Through(["run"] * 10_000, steps=[begun])))
        await asyncio.sleep(1.0)
        begins.clear()
        answers = await offered(frame, Passing, record="call", every=0.005 / 2, seconds=10.0, deadline=0.3)
        share = begins.count("run") / len(begins)
        assert 0.09 <= share <= 0.2
        assert len(answers.good) >= 0.9 * 0.85 * 10.0 / 0.005
        assert max(answers.good) <= 1.5 * 0.3
        assert (await run).delivered == 10_000


@virtual
async def test_a_call_beside_a_long_run_waits_for_what_the_lanes_have_and_no_longer() -> None:
    async with opened(each_takes(0.01)) as frame:
        run = asyncio.ensure_future(frame.run(Through(["run"] * 3000, steps=[begun])))
        await asyncio.sleep(1.0)
        for _ in range(50):
            began = now()
            await frame.call(Passing, "call", deadline=1.0)
            assert now() - began <= 0.045
            await asyncio.sleep(0.05)
        assert (await run).delivered == 3000


@virtual
async def test_a_light_pipeline_is_not_held_up_by_a_heavy_one() -> None:
    async with opened() as frame:
        heavy, light = Through(steps=[begun]), Through(steps=[begun])
        await frame.call(heavy, 0)
        await frame.call(light, 0)
        flood = asyncio.ensure_future(offered(frame, heavy, every=EACH / 3, seconds=10.0, deadline=1.0))
        await asyncio.sleep(3.0)
        for _ in range(20):
            began = now()
            await frame.call(light, 0)
            assert now() - began <= 3.1 * EACH
            await asyncio.sleep(0.1)
        await flood


@virtual
async def test_batches_are_short_where_a_deadline_is() -> None:
    executor = each_takes(0.001)
    async with opened(executor) as frame:
        await asyncio.gather(*(frame.call(Passing, 0) for _ in range(900)))
        assert max(size for _, size in executor.batches) >= 12
        before = len(executor.batches)
        await asyncio.gather(*(frame.call(Passing, 0, deadline=0.02) for _ in range(900)), return_exceptions=True)
        later = [size for _, size in executor.batches[before:]]
        assert max(later) <= 5


@virtual
async def test_a_call_that_waits_in_a_run_that_is_stopped_keeps_its_deadline() -> None:
    async with opened(FakeExecutor(1, delay=1.0), buffer_size=1) as frame:
        first = asyncio.ensure_future(frame.call(Passing, 1))
        await asyncio.sleep(0.1)
        second = asyncio.ensure_future(frame.call(Passing, 2))
        third = asyncio.ensure_future(frame.call(Passing, 3, deadline=1.5))
        await asyncio.sleep(0.1)
        frame.stop()
        came = await asyncio.gather(first, second, third, return_exceptions=True)
        assert [*came[:2]] == [1, 2]
        assert isinstance(came[2], Overloaded)
        assert 3 not in begins


@virtual
async def test_a_caller_that_leaves_takes_its_place_in_the_queue_along() -> None:
    async with opened(FakeExecutor(1, delay=1.0), call_queue=2) as frame:
        at_work = asyncio.ensure_future(frame.call(Passing, 0))
        await asyncio.sleep(0.1)
        waiting = [asyncio.ensure_future(frame.call(Passing, n, deadline=10.0)) for n in (1, 2)]
        await asyncio.sleep(0.1)
        for call in waiting:
            call.cancel()
        await asyncio.sleep(0)
        assert desk_of(frame).waiting == 0
        assert await frame.call(Passing, 3) == 3
        await at_work
        assert begins == [0, 3]


@virtual
async def test_runs_go_on_at_once_when_the_calls_before_them_leave() -> None:
    async with opened(FakeExecutor(1, delay=1.0, slots=1)) as frame:
        at_work = asyncio.ensure_future(frame.call(Passing, 0))
        await asyncio.sleep(0.1)
        waiting = asyncio.ensure_future(frame.call(Passing, 1))
        run = asyncio.ensure_future(frame.run(Through(["run"], steps=[begun])))
        await asyncio.sleep(0.5)
        waiting.cancel()
        await at_work
        await run
        assert now() == pytest.approx(2.0)
        assert begins == [0, "run"]


@virtual
async def test_nobody_is_refused_where_there_is_time_for_all() -> None:
    async with opened(each_takes(lanes=2)) as frame:
        answers = await offered(frame, Passing, every=EACH / 2 * 1.1, seconds=10.0, deadline=0.2)
        assert not answers.refused


@virtual
async def test_a_bulk_call_runs_the_steps_of_the_same_chain() -> None:
    executor = each_takes()
    loaded: list[Any] = []
    load = executor.load
    executor.load = lambda chain: (loaded.append(chain), load(chain))[1]  # type: ignore[method-assign, func-returns-value]
    async with opened(executor) as frame:
        assert await frame.call(Passing, 1) == 1
        assert await frame.call(Passing, 2, bulk=True) == 2
        assert len({id(chain) for chain in loaded}) == 1


@virtual
async def test_an_async_step_may_call_its_own_frame() -> None:
    async with opened() as frame:

        async def calls(record: Any) -> Any:
            return await frame.call(Passing, record, deadline=1.0), True

        run = frame.run(Through(range(50), steps=[passing, calls, passing]))
        assert (await run).delivered == 50


def sprayed(record: Any) -> Iterator[tuple[Any, bool]]:
    for child in range(80):  # more than a portion
        yield (record, child), True


class Noting(Calls):
    """Calls that note when one is begun after its deadline."""

    late_ones: ClassVar[list[Any]] = []

    def begun(self, position: int) -> None:
        call = self._fed.get(position)
        if call is not None and call.timer is not None and call.timer.when() < now():
            self.late_ones.append(call.record)
        super().begun(position)


@settings(max_examples=80)
@given(
    seed=st.integers(0, 10**6),
    lanes=st.integers(1, 3),
    slots=st.integers(1, 3),
    buffer_size=st.sampled_from([1, 5, 100]),
    call_queue=st.sampled_from([1, 10, 1000]),
    deaths=st.frozensets(st.integers(0, 40), max_size=4),
    beside=st.booleans(),
)
def test_whatever_comes_together_each_call_has_its_end_and_none_begins_late(
    seed: int, lanes: int, slots: int, buffer_size: int, call_queue: int, deaths: frozenset[int], beside: bool
) -> None:
    draw = random.Random(seed)
    pipelines = [
        Through(steps=[passing]),
        Through(steps=[waits, passing], async_concurrency=2),
        Through(steps=[passing, waits, passing]),
        Through(steps=[passing], order=lambda record: record % 2),
        Through(steps=[twice, passing], retry=Retry(2, backoff=0.01)),
    ]
    ends = Counter[str]()

    async def caller(frame: PipeFrame, number: int) -> None:
        await asyncio.sleep(draw.random())
        pipeline = draw.choice(pipelines)
        deadline = draw.choice([None, 0.001, 0.05, 0.3, 2.0])
        call = asyncio.ensure_future(frame.call(pipeline, number, deadline=deadline, bulk=draw.random() < 0.3))
        if draw.random() < 0.2:
            await asyncio.sleep(draw.random() / 5)
            call.cancel()
        await asyncio.wait([call])
        if call.cancelled():
            ends["left"] += 1
            return
        error = call.exception()
        assert error is None or isinstance(error, Overloaded), error
        ends["refused" if error else "answered"] += 1

    async def main() -> None:
        executor = FakeExecutor(
            lanes, slots=slots, deaths=deaths, delay=lambda number, records: draw.random() * 0.05, start_seconds=0.01
        )
        async with opened(executor, buffer_size=buffer_size, call_queue=call_queue) as frame:
            runs = [Through(range(100), steps=[passing]), Through(range(5), steps=[sprayed, waits])] if beside else []
            running = [asyncio.ensure_future(frame.run(run)) for run in runs]
            await asyncio.gather(*(caller(frame, number) for number in range(60)))
            for run in running:
                report = await run
                assert report.aborted == 0
        assert ends.total() == 60

    Noting.late_ones.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeframe_async._engine.desk.Calls", Noting)
        run_virtual(main, seed=seed)
    assert not Noting.late_ones


@virtual
async def test_a_fan_out_that_waits_for_its_consumer_holds_up_no_call() -> None:
    """Its batches rest in the workers: their lanes have batches, and nothing to do."""
    stream = Through(range(20), steps=[sprayed])
    async with (
        opened(FakeExecutor(1, delay=0.001), buffer_size=10) as frame,
        frame.stream(stream) as results,
    ):
        async for _ in results:
            break
        await asyncio.sleep(1.0)  # nobody takes any more
        for deadline in (None, 0.5):
            assert await frame.call(Passing, 1, deadline=deadline) == 1
