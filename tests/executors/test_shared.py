"""Somebody else's executor as a lane: what it loses is found by halves, and when it is broken that is said."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from typing import Any

import pytest

from pipeframe_async import Failure, PipeFrame, PipelineEngine, StateError, WorkerLost
from pipeframe_async._worker import codec, envelope
from pipeframe_async.executors.shared import MOST_IN_VAIN, SharedExecutor, SharedLane
from pipeframe_async.wire import ChainRef, ChainSpec, Death, Packed, Reply


@pytest.fixture(autouse=True)
def chains_are_forgotten() -> Iterator[None]:
    yield
    envelope.forget()


def double(record: int) -> tuple[int, bool]:
    return 2 * record, True


class Given(Executor):
    """Answers each submission as it is told to: with an error, by running it, or never (None)."""

    def __init__(self, *answers: str | BaseException | None) -> None:
        self.answers = list(answers)
        self.futures: list[Future[Any]] = []

    def submit(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.futures.append(future)
        match self.answers.pop(0):
            case BaseException() as error:
                future.set_exception(error)
            case "run":
                future.set_result(call(*args, **kwargs))
            case "cancel":
                future.cancel()
        return future


class Refuses(Executor):
    """Takes no work."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def submit(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        raise self._error


CHAIN = ChainSpec(("double",), (double,), None)


def lane_of(executor: Executor, workers: int = 2) -> tuple[SharedLane, ChainRef]:
    shared = SharedExecutor(executor, workers)
    return shared.lanes[0], shared.load(CHAIN)


async def run(lane: SharedLane, chain: ChainRef, *records: int, part: tuple[int, int] | None = None) -> Reply | Death:
    packed = Packed(len(records), codec.dumps(list(records)))
    return await lane.run(chain, 3, packed.stretch(*part) if part else packed, ship=True)


async def test_it_has_a_lane_for_each_worker_that_is_given_twice_as_much_as_it_runs() -> None:
    shared = SharedExecutor(Given(), 3)
    assert [(lane.workers, lane.slots) for lane in shared.lanes] == [(1, 2)] * 3
    assert [lane.name.rpartition(".")[2] for lane in shared.lanes] == ["Given 1", "Given 2", "Given 3"]


class Resized(Given):
    """Says how many workers it has, as pools do."""

    _max_workers = 2


async def test_how_many_lanes_there_are_is_what_the_executor_says_as_it_goes() -> None:
    executor = Resized("run")
    shared = SharedExecutor(executor, None)

    def there() -> int:
        return sum(lane.workers for lane in shared.lanes)

    assert there() == 2
    third = asyncio.ensure_future(shared.lanes[2].start())
    await asyncio.sleep(0)
    assert not third.done()
    executor._max_workers = 3
    await third
    assert there() == 3
    executor._max_workers = 1
    assert there() == 1


async def test_a_batch_is_run_there_and_parts_of_it_too() -> None:
    lane, chain = lane_of(Given("run", "run"))
    for part, results in [(None, [2, 4, 6]), ((1, 3), [4, 6])]:
        reply = await run(lane, chain, 1, 2, 3, part=part)
        assert isinstance(reply, Reply)
        assert isinstance(reply.results, bytes)
        assert codec.loads(reply.results) == results


@pytest.mark.parametrize("error", [BrokenExecutor("a child died"), OSError("no pipe"), MemoryError()])
async def test_a_batch_that_was_lost_is_a_death_that_knows_nothing_of_records(error: Exception) -> None:
    lane, chain = lane_of(Given(error))
    death = await run(lane, chain, 1, 2, 3)
    assert isinstance(death, Death)
    assert (death.at, death.begun, death.whole, death.ran, death.kind) == (None, True, False, 3, "crashed")
    assert type(error).__name__ in death.cause
    assert lane.name.rpartition(" ")[0] in death.cause


async def test_an_executor_that_is_broken_for_good_says_so() -> None:
    lane, chain = lane_of(Refuses(BrokenExecutor("a child died")))
    with pytest.raises(WorkerLost, match="Refuses is broken and takes no more work: BrokenExecutor: a child died"):
        await run(lane, chain, 1)


async def test_an_executor_that_was_shut_down_says_so() -> None:
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    lane, chain = lane_of(pool)
    with pytest.raises(StateError, match="ThreadPoolExecutor does not take work: RuntimeError: cannot schedule"):
        await run(lane, chain, 1)


async def test_a_batch_that_the_executor_cancels_is_told_with_its_number() -> None:
    lane, chain = lane_of(Given("cancel"))
    with pytest.raises(WorkerLost, match="cancelled batch 3: was it shut down"):
        await run(lane, chain, 1)


class Counted(Given):
    """Keeps what it was sent."""

    def __init__(self, *outcomes: Any) -> None:
        super().__init__(*outcomes)
        self.sent: list[bool] = []

    def submit(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.sent.append(args[1] is not None)
        return super().submit(call, *args, **kwargs)


async def test_a_chain_travels_with_the_first_batch_and_to_who_does_not_have_it() -> None:
    executor = Counted(OSError("lost"), *["run"] * 4)
    lane, chain = lane_of(executor)
    assert isinstance(await run(lane, chain, 1), Death)
    for _ in range(2):
        assert isinstance(await run(lane, chain, 1), Reply)
    envelope.forget(chain.key)  # as if another worker had the batch
    reply = await run(lane, chain, 1)
    assert isinstance(reply, Reply)
    assert (reply.refusal, reply.delivered) == (None, 1)
    assert executor.sent == [True, True, False, False, True]


async def test_an_executor_that_begins_nothing_is_an_error_and_no_silence() -> None:
    lane = SharedExecutor(Given(None, None), 1, worker_timeout=0.05).lanes[0]
    chain = SharedExecutor(Given(), 1).load(CHAIN)
    with pytest.raises(WorkerLost, match=r"Given has begun no batch for 0\.05 s: has it any workers\?"):
        await run(lane, chain, 1)


async def test_an_executor_that_is_at_work_may_be_silent_for_as_long_as_it_likes() -> None:
    executor = Given(None)
    lane = SharedExecutor(executor, 1, worker_timeout=0.05).lanes[0]
    chain = SharedExecutor(Given(), 1).load(CHAIN)
    waiting = asyncio.ensure_future(run(lane, chain, 1))
    await asyncio.sleep(0)
    executor.futures[0].set_running_or_notify_cancel()
    done, _ = await asyncio.wait([waiting], timeout=0.3)
    assert not done
    executor.futures[0].set_result(Reply(1))
    assert isinstance(await waiting, Reply)


async def test_a_batch_that_was_given_up_and_is_at_work_all_the_same_is_no_silence() -> None:
    executor = Given(None, None)
    lane = SharedExecutor(executor, 1, worker_timeout=0.05).lanes[0]
    chain = SharedExecutor(Given(), 1).load(CHAIN)
    given_up = asyncio.ensure_future(run(lane, chain, 1))
    await asyncio.sleep(0)
    executor.futures[0].set_running_or_notify_cancel()
    given_up.cancel()
    await asyncio.wait([given_up])
    waiting = asyncio.ensure_future(run(lane, chain, 1))
    done, _ = await asyncio.wait([waiting], timeout=0.3)
    assert not done  # it waits for a worker that has something to do
    executor.futures[0].set_result(Reply(1))
    with pytest.raises(WorkerLost, match="has begun no batch"):
        await waiting


async def test_a_hop_is_told_where_the_worker_had_waited_for_it() -> None:
    for idle, told in [(None, False), (0.0, False), (60.0, True)]:
        executor = Given(None)
        lane, chain = lane_of(executor)
        waiting = asyncio.ensure_future(run(lane, chain, 1))
        await asyncio.sleep(0.001)
        executor.futures[0].set_result(Reply(1, wall=0.0, idle=idle))
        reply = await waiting
        assert isinstance(reply, Reply)
        assert (reply.hop is not None) is told


async def test_a_batch_nobody_waits_for_is_cancelled_in_the_executor() -> None:
    executor = Given(None)
    lane, chain = lane_of(executor)
    waiting = asyncio.ensure_future(run(lane, chain, 1))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    while not executor.futures[0].cancelled():
        await asyncio.sleep(0)


async def test_an_executor_that_never_answers_is_given_up() -> None:
    lane, chain = lane_of(Given(*[OSError("lost")] * (MOST_IN_VAIN + 1)))
    for _ in range(MOST_IN_VAIN):
        assert isinstance(await run(lane, chain, 1), Death)
    with pytest.raises(WorkerLost, match=f"has lost {MOST_IN_VAIN + 1} batches and answered none: OSError: lost"):
        await run(lane, chain, 1)


async def test_an_executor_that_has_answered_once_is_not_given_up() -> None:
    lost = [OSError("lost")] * (2 * MOST_IN_VAIN)
    lane, chain = lane_of(Given(*lost[:MOST_IN_VAIN], "run", *lost))
    answers = [await run(lane, chain, 1) for _ in range(3 * MOST_IN_VAIN + 1)]
    assert [at for at, answer in enumerate(answers) if isinstance(answer, Reply)] == [MOST_IN_VAIN]


async def test_closing_leaves_it_open() -> None:
    with ThreadPoolExecutor(1) as pool:
        await SharedExecutor(pool, 1).close(kill=True, timeout=1)
        assert pool.submit(int).result() == 0


# Whole runs.


class Fragile(Executor):
    """Loses a batch that has a deadly record, as a pool that replaces its workers does; `lives`: then it is broken."""

    def __init__(self, deadly: set[int], lives: int | None = None) -> None:
        self._deadly = deadly
        self.lives = lives
        self.lost = 0

    def submit(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        if self.lives == self.lost:
            raise BrokenExecutor("no lives left")
        future: Future[Any] = Future()
        *_, data, _ship, span = args
        records = [codec.loads(frame) for frame in data] if span is None else codec.loads(data)
        first, count = span or (0, len(records))
        if self._deadly & set(records[first : first + count]):
            self.lost += 1
            future.set_exception(BrokenExecutor("a worker died"))
        else:
            future.set_result(call(*args, **kwargs))
        return future


class Kept(PipelineEngine[int, int]):
    steps = (double,)
    source = "stream"

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.dead: list[Failure[int]] = []

    async def sink(self, records: list[int]) -> None:
        self.taken += records

    async def dead_letter(self, failures: list[Failure[int]]) -> None:
        self.dead += failures


async def test_exactly_the_records_that_kill_are_blamed() -> None:
    executor, pipeline, deadly = Fragile({0, 17, 18, 63}), Kept(), [0, 17, 18, 63]
    report = await PipeFrame(2, executor=executor).run(pipeline, range(64))
    assert [(failure.record, failure.kind) for failure in pipeline.dead] == [(record, "crashed") for record in deadly]
    assert pipeline.taken == [2 * record for record in range(64) if record not in deadly]
    assert (report.fed, report.delivered, report.failed, report.aborted) == (64, 60, 4, 0)


@pytest.mark.parametrize("lives", [0, 1, 3])
async def test_a_broken_executor_ends_the_run_with_every_record_accounted_for(lives: int) -> None:
    executor, pipeline = Fragile({20}, lives), Kept()
    with pytest.raises(WorkerLost, match="takes no more work: BrokenExecutor: no lives left") as caught:
        await PipeFrame(2, executor=executor).run(pipeline, range(64))
    report = caught.value.report
    assert report is not None
    assert report.fed == report.delivered + report.failed + report.aborted
    assert (report.delivered, report.failed) == (len(pipeline.taken), len(pipeline.dead))
    assert report.aborted > 0
    assert pipeline.taken == [2 * record for record in range(len(pipeline.taken))]


came, may = threading.Semaphore(0), threading.Semaphore(0)


def held(record: int) -> tuple[int, bool]:
    came.release()
    may.acquire(timeout=10)
    return record, True


class Held(PipelineEngine[int, int]):
    steps = (held,)
    batch_size = 3

    async def sink(self, records: list[int]) -> None: ...


@pytest.mark.parametrize("lent", [False, True])
async def test_how_far_threads_are_in_a_batch_is_to_be_seen(lent: bool) -> None:
    with ThreadPoolExecutor(1) as pool:
        frame = PipeFrame(1, executor=pool if lent else "threads")
        running = asyncio.create_task(frame.run(Held, range(6)))
        seen = []
        for _ in range(6):
            await asyncio.to_thread(came.acquire, timeout=10)
            seen.append(frame.stats().workers[0].at)
            may.release()
        await running
    assert [at[1] for at in seen if at is not None] == [0, 1, 2, 0, 1, 2]
    assert len(set(seen)) == 6


async def test_nobody_looks_at_the_stacks_of_threads_that_are_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def crashes() -> None:
        raise AssertionError("frames of a thread go on under whoever looks at them")

    monkeypatch.setattr(sys, "_current_frames", crashes)
    async with PipeFrame(2, executor="threads") as frame:
        running = asyncio.create_task(frame.run(Held, range(2)))
        await asyncio.to_thread(came.acquire, timeout=10)
        assert len(frame.stats().workers) == 2
        may.release()
        may.release()
        await running
    while came.acquire(blocking=False):
        pass
