"""Large records through real workers: values come out right whatever steps and consumers do with them."""

from __future__ import annotations

import asyncio
import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from pipeframe_async import PipeFrame, PipelineEngine
from pipeframe_async.executors.processes import channel, worker

numpy = pytest.importorskip("numpy")
pytestmark = pytest.mark.process

FLOATS = 20_000
"""Of an array: large enough to stand beside the pickle."""


def array_of(number: int) -> Any:
    return numpy.full(FLOATS, float(number))


def doubled(array: Any) -> Any:
    return array * 2, True


def spoiled(array: Any) -> Any:
    number = array[0]
    array[:] = -1
    if number % 10 == 3:
        raise ValueError("spoiled")
    return array + number + 1, True


def window(array: Any, seen: list[Any] = []) -> Any:  # noqa: B006 - what steps do to keep a little state
    seen.append(array)
    return [float(old[0]) for old in seen[-5:]], float(array[0]) == float(array[-1])


def deadly(array: Any) -> Any:
    if array[0] == 17:
        os._exit(1)
    return array[:5], True


def spoiled_or_deadly(array: Any) -> Any:
    number = array[0]
    array[:] = -1
    if number == 17:
        os._exit(1)
    return array + number + 1, True


def slow(array: Any) -> Any:
    if array[0] == 5:
        time.sleep(100)
    return array, True


def three(array: Any) -> Any:
    for number in range(3):
        yield array + number, True


def same(record: Any) -> Any:
    return record, True


def corner(array: Any) -> Any:
    """A view of the record, and the record itself later on in the same batch."""
    return [array[:3], array[::-1]], True


def total(array: Any) -> Any:
    return float(array.sum()), True


def hanging_up(array: Any) -> Any:
    """Closes every socket of its process."""
    if array[0] == 3:
        for fd in range(3, 256):
            try:
                if stat.S_ISSOCK(os.fstat(fd).st_mode):
                    os.close(fd)
            except OSError:  # no such descriptor
                continue
    return array, True


def closing_everything(array: Any) -> Any:
    if array[0] == 3:
        os.closerange(3, 1024)
    return array, True


def forking(array: Any) -> Any:
    """Leaves a child alone for a moment that would have the socket, if it could."""
    if array[0] == 3 and os.fork() == 0:
        time.sleep(0.2)
        os._exit(0)
    return array, True


def bytes_of_any_size(number: int) -> Any:
    return bytes([number % 251]) * (3_000_000 + 1000 * number), True


@dataclass
class Frame:
    name: str
    pixels: Any
    more: dict[str, Any]


class Arrays(PipelineEngine[Any, Any]):
    source = "stream"
    max_failures = None

    def __init__(
        self,
        *steps: Any,
        records: int = 40,
        time_limit: float | None = None,
        make: Callable[[int], Any] = array_of,
    ) -> None:
        self.steps = list(steps)
        self.records = records
        self.make = make
        self.time_limit = time_limit
        self.failures: list[Any] = []

    def feed(self) -> Iterator[Any]:
        return map(self.make, range(self.records))

    async def dead_letter(self, failures: list[Any]) -> None:
        self.failures += failures


async def results_of(pipeline: Arrays, frame: PipeFrame | None = None) -> list[Any]:
    async with (frame or PipeFrame(2)).stream(pipeline) as results:
        return [result async for result in results]


def numbers(arrays: list[Any]) -> list[float]:
    assert all((array == array[0]).all() for array in arrays)
    return [float(array[0]) for array in arrays]


async def test_a_consumer_that_keeps_all_results_has_the_right_values_at_the_end() -> None:
    kept = await results_of(Arrays(doubled, records=300))
    assert numbers(kept) == [2.0 * number for number in range(300)]


async def test_a_step_may_change_its_record_in_place_and_its_failure_has_it_as_it_was_fed() -> None:
    pipeline = Arrays(spoiled)
    kept = await results_of(pipeline)
    assert numbers(kept) == [number for number in range(40) if number % 10 != 3]
    assert numbers([failure.record for failure in pipeline.failures]) == [3, 13, 23, 33]


async def test_a_step_that_keeps_its_records_sees_them_unchanged() -> None:
    seen = await results_of(Arrays(window, records=200))
    # Of what is written over two would be the same. Their order is not told: what waits behind a slow one may be moved.
    assert all(len({*old}) == len(old) and {*old} <= {*range(200)} for old in seen)
    assert sorted(old[-1] for old in seen) == list(range(200))


async def test_the_record_that_kills_its_worker_is_the_one_that_fails() -> None:
    pipeline = Arrays(deadly)
    kept = await results_of(pipeline)
    assert numbers(kept) == [number for number in range(40) if number != 17]
    assert numbers([failure.record for failure in pipeline.failures]) == [17]


async def test_a_record_out_of_time_is_the_one_that_fails() -> None:
    pipeline = Arrays(slow, records=12, time_limit=0.3)
    kept = await results_of(pipeline)
    assert numbers(kept) == [number for number in range(12) if number != 5]
    assert [failure.kind for failure in pipeline.failures] == ["timeout"]


async def test_a_fan_out_of_arrays_comes_in_order() -> None:
    kept = await results_of(Arrays(three, records=10))
    assert numbers(kept) == [number + more for number in range(10) for more in range(3)]


async def test_many_runs_share_the_workers_and_their_memory() -> None:
    async with PipeFrame(2) as frame:
        runs = await asyncio.gather(*(results_of(Arrays(doubled, records=30), frame) for _ in range(5)))
    assert all(numbers(kept) == [2.0 * number for number in range(30)] for kept in runs)


async def test_a_record_larger_than_shared_memory_may_be_goes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeframe_async._worker.channel.REGION_BYTES", 1000)
    assert numbers(await results_of(Arrays(doubled, records=5))) == [0, 2, 4, 6, 8]


@pytest.mark.parametrize("step", [doubled, deadly], ids=["well", "with a crash"])
async def test_it_works_without_memory_without_a_name(step: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "_memory", lambda name: [])
    assert len(await results_of(Arrays(step))) == (40 if step is doubled else 39)


@pytest.mark.parametrize("step", [doubled, deadly], ids=["well", "with a crash"])
async def test_it_works_through_the_pool_s_own_queues_where_no_socket_can_be_handed_over(
    step: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "CAN_HAND_OVER_SOCKETS", False)
    pipeline = Arrays(step)
    kept = await results_of(pipeline)
    assert numbers([failure.record for failure in pipeline.failures]) == ([] if step is doubled else [17])
    assert len(kept) + len(pipeline.failures) == 40


def kinds_of_records() -> dict[str, Any]:
    square = numpy.arange(90_000.0).reshape(300, 300)
    read_only = square.copy()
    read_only.flags.writeable = False
    structured = numpy.zeros(9000, dtype=[("a", "i4"), ("b", "f8"), ("c", "S3")])
    structured["b"] = range(9000)
    return {
        "float": square,
        "boolean": square % 3 == 0,
        "structured": structured,
        "fortran": numpy.asfortranarray(square),
        "transposed": square.T,
        "strided": square[::2, ::3],
        "backwards": square[::-1],
        "read-only": read_only,
        "empty": numpy.zeros((0, 3)),
        "scalar": numpy.array(3.5),
        "objects": numpy.array(["a", None, square], dtype=object),
        "dates": numpy.arange(9000).astype("M8[s]"),
        "big-endian": square.astype(">f4"),
        "masked": numpy.ma.masked_less(square, 100),
        "matrix in a dict": {"a": square, "b": [square[0], read_only]},
        "dataclass": Frame("first", square, {"mask": square > 4, "none": numpy.zeros(0)}),
        "bytes": bytes(2**20),
        "bytearray": bytearray(b"x" * 2**20),
        "bytes in a dict": {"a": bytes(40_000), "b": bytearray(40_000)},
        "memory of one array twice": [square, square],
        "part and whole": [square[10:20], square],
    }


def assert_same(one: Any, other: Any) -> None:
    """Equal to the last flag, all the way down."""
    assert type(one) is type(other)
    if isinstance(one, numpy.ndarray):
        assert (one.dtype, one.shape, one.flags.writeable) == (other.dtype, other.shape, other.flags.writeable)
        if one.dtype == object:
            assert_same(one.tolist(), other.tolist())
        else:
            assert one.tobytes() == other.tobytes()
    elif isinstance(one, dict):
        assert_same(list(one.items()), list(other.items()))
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for mine, theirs in zip(one, other, strict=True):
            assert_same(mine, theirs)
    elif isinstance(one, Frame):
        assert_same(vars(one), vars(other))
    else:
        assert one == other


@pytest.mark.parametrize("way", ["shared memory", "socket", "pool"])
def test_every_kind_of_record_comes_back_as_it_was(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if way == "socket":
        monkeypatch.setattr(channel, "_memory", lambda name: [])
    if way == "pool":
        monkeypatch.setattr(worker, "CAN_HAND_OVER_SOCKETS", False)
    records = [*kinds_of_records().values()] * 3
    kept = asyncio.run(results_of(Arrays(same, records=len(records), make=records.__getitem__)))
    assert_same(kept, records)


@pytest.mark.parametrize("memory", [True, False], ids=["shared memory", "socket"])
def test_one_record_of_100_mib_goes_there_and_back(memory: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not memory:
        monkeypatch.setattr(channel, "_memory", lambda name: [])
    large = numpy.arange(100 * 2**20 // 8, dtype=float)
    began = time.perf_counter()
    (back,) = asyncio.run(results_of(Arrays(same, records=1, make=lambda number: large)))
    assert (back == large).all()
    assert time.perf_counter() - began < 15  # copied anew for each piece of 64 KiB it took minutes


def test_views_of_a_record_are_results_like_any_other() -> None:
    kept = asyncio.run(results_of(Arrays(corner, records=60, make=lambda number: numpy.arange(FLOATS) + number)))
    for number, (head, backwards) in enumerate(kept):
        assert head.tolist() == [number, number + 1, number + 2]
        assert (backwards == numpy.arange(FLOATS)[::-1] + number).all()


async def test_a_consumer_may_change_its_results_in_place() -> None:
    async with PipeFrame(2).stream(Arrays(same, records=200)) as results:
        number = 0
        async for array in results:
            assert (array == number).all()
            array[:] = -1
            number += 1
    assert number == 200


async def test_the_sink_of_a_run_has_what_the_steps_made() -> None:
    class Sunk(Arrays):
        async def sink(self, records: list[Any]) -> None:
            taken.extend(records)

    taken: list[Any] = []
    report = await PipeFrame(2).run(Sunk(doubled, records=100))
    assert report.delivered == 100
    assert numbers(taken) == [2.0 * number for number in range(100)]


async def test_a_worker_s_death_among_the_results_of_others_spoils_none_of_them() -> None:
    """Many at once on a warm frame: more batches in a lane than there are regions, and workers that die under them."""
    async with PipeFrame(2) as frame:
        pipelines = [Arrays(deadly if number % 2 else doubled, records=30) for number in range(6)]
        runs = await asyncio.gather(*(results_of(pipeline, frame) for pipeline in pipelines))
    for pipeline, kept in zip(pipelines, runs, strict=True):
        died = pipeline.steps == [deadly]
        assert numbers([failure.record for failure in pipeline.failures]) == ([17] if died else [])
        assert numbers(kept) == [number * (1 if died else 2) for number in range(30) if not (died and number == 17)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("step", [hanging_up, closing_everything])
def test_a_record_that_takes_its_worker_s_voice_is_the_one_that_fails(step: Any) -> None:
    pipeline = Arrays(step, records=20)
    kept = asyncio.run(results_of(pipeline))
    assert numbers([failure.record for failure in pipeline.failures]) == [3]
    assert numbers(kept) == [number for number in range(20) if number != 3]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_step_that_forks_does_not_disturb_the_talk() -> None:
    assert numbers(asyncio.run(results_of(Arrays(forking, records=20)))) == list(range(20))


@pytest.mark.parametrize("memory", [True, False], ids=["shared memory", "socket"])
async def test_a_stream_that_is_left_in_the_middle_of_large_replies_ends_at_once(
    memory: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The workers still write to a parent that reads no more: their teardown must not wait for it."""
    if not memory:
        monkeypatch.setattr(channel, "_memory", lambda name: [])
    frame, pipeline = PipeFrame(2), Arrays(bytes_of_any_size, make=int)
    async with asyncio.timeout(5), frame, frame.stream(pipeline) as results:
        async for _ in results:
            break


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads /proc")
def test_the_parent_s_memory_stays_flat_over_a_thousand_arrays() -> None:
    def resident() -> int:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) // 1024 for line in status if line.startswith("VmRSS:"))

    async def looked_at() -> list[int]:
        array = numpy.ones(2**17)
        pipeline = Arrays(same, records=1000, make=lambda number: array.copy())
        async with PipeFrame(2, buffer_bytes=8 * 2**20).stream(pipeline) as results:
            return [resident() async for _ in results]

    seen = asyncio.run(looked_at())
    assert len(seen) == 1000
    assert max(seen[500:]) - max(seen[200:500]) < 16  # MiB, of 500 that passed


@pytest.mark.parametrize("way", ["shared memory", "socket", "pool"])
def test_a_step_that_spoils_its_record_and_dies_is_run_again_on_what_was_fed(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mates of a record that kills its worker are run again: in place they were changed once already."""
    if way == "socket":
        monkeypatch.setattr(channel, "_memory", lambda name: [])
    if way == "pool":
        monkeypatch.setattr(worker, "CAN_HAND_OVER_SOCKETS", False)
    pipeline = Arrays(spoiled_or_deadly)
    assert numbers(asyncio.run(results_of(pipeline))) == [number for number in range(40) if number != 17]
    assert numbers([failure.record for failure in pipeline.failures]) == [17]
