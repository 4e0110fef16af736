"""One table for all workers: what it costs each, who reads it how, and what is left of it."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Literal
from weakref import ref

import pytest

from pipeframe_async import ConfigError, PipeFrame, PipelineEngine, Shared, share, unnamed
from pipeframe_async.executors.processes.fleet import ProcessLanes

numpy = pytest.importorskip("numpy")
pytestmark = [
    pytest.mark.process,
    pytest.mark.one_loop,  # all of it happens in workers
    pytest.mark.skipif(not unnamed.can_be_found(), reason="needs /proc"),
]

MIB = 2**20
TABLE = 64 * MIB


def table_of(nbytes: int = TABLE) -> Any:
    return numpy.arange(nbytes // 8, dtype=numpy.int64)


class Reading(PipelineEngine[Any, Any]):
    """Each record is answered by a worker with what it has read."""

    max_failures: int | None = 0
    batch_size = 1
    source: Literal["batch", "stream"] = "stream"

    def __init__(self, table: Any) -> None:
        self.table = table
        self.taken: list[Any] = []
        self.failures: list[Any] = []
        self.steps = [self.read]

    def read(self, record: Any) -> Any:
        """The whole table."""
        return (os.getpid(), int(self.table.value.sum())), True

    def sink(self, results: list[Any]) -> None:
        self.taken += results


class Writing(Reading):
    """Puts something into the table."""

    max_failures = None

    def dead_letter(self, failures: list[Any]) -> None:
        self.failures += failures

    def read(self, record: Any) -> Any:
        self.table.value[record] = -1
        return record, True


class Dying(Reading):
    """Ends its worker at one record."""

    max_failures = 1

    def read(self, record: Any) -> Any:
        if record == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read(record)


class SetUp(Reading):
    """Makes something of the table once a worker."""

    def setup(self) -> None:
        self.total = int(self.table.value.sum())

    def read(self, record: Any) -> Any:
        return (os.getpid(), self.total), True


class InRecords(Reading):
    """Has no table; each record has one."""

    def read(self, record: Any) -> Any:
        number, table = record
        return (os.getpid(), int(table.value.sum()) + number, table), True


class Forgetting(InRecords):
    """Its records are nobody's any more when they are done."""

    def read(self, record: Any) -> Any:
        number, table = record
        return (os.getpid(), int(table.value.sum()) + number), True


class Forgiving(Forgetting):
    """The same of a feed that runs to its end first, most of it to disk."""

    source = "batch"
    max_failures = None

    def dead_letter(self, failures: list[Any]) -> None:
        self.failures += failures


class Mappings(Reading):
    """How often the worker has mapped what is shared."""

    def read(self, record: Any) -> Any:
        self.table.value.sum()
        return mappings(os.getpid()), True


def mappings(pid: int) -> int:
    return Path(f"/proc/{pid}/maps").read_text().count(unnamed.SHARED)


def private_bytes(pid: int) -> int:
    """What this process alone has in memory."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


def at_each_worker(pipeline: Reading, workers: int) -> Iterator[int]:
    """A feed that goes on until so many workers have answered, so that each has read it all."""
    for number in range(10_000):
        if len({pid for pid, _ in pipeline.taken}) == workers:
            return
        yield number


async def test_workers_read_it_without_a_copy_of_their_own_and_the_program_has_one_more() -> None:
    small, table = table_of(8192), table_of()
    async with PipeFrame(2, buffer_size=4) as frame:
        warm = Reading(share(small))
        await frame.run(warm, at_each_worker(warm, 2))
        pids = {pid for pid, _ in warm.taken}
        before = {pid: private_bytes(pid) for pid in (*pids, os.getpid())}
        reading = Reading(share(table))
        await frame.run(reading, at_each_worker(reading, 2))
        grown = {pid: private_bytes(pid) - before[pid] for pid in before}
    assert {total for _, total in reading.taken} == {int(table.sum())}
    assert {pid for pid, _ in reading.taken} == pids
    assert grown.pop(os.getpid()) < TABLE + 5 * MIB
    assert all(bytes_grown < 5 * MIB for bytes_grown in grown.values()), grown


async def test_many_chains_have_it_mapped_once_in_a_worker() -> None:
    handle = share(table_of(8192))
    async with PipeFrame(1) as frame:
        for step in ("first", "second", "third"):
            pipeline = type(step, (Mappings,), {})(handle)
            await frame.run(pipeline, [0])
            assert pipeline.taken == [1]


async def test_it_is_gone_when_handle_and_chain_are() -> None:
    before = mappings(os.getpid()), len(os.listdir("/proc/self/fd"))
    async with PipeFrame(1) as frame:
        reading = Reading(share(table_of()))
        await frame.run(reading, [0])
    del reading
    gc.collect()
    assert (mappings(os.getpid()), len(os.listdir("/proc/self/fd"))) == before


async def test_a_warm_worker_gives_up_tables_of_pipelines_that_are_gone() -> None:
    mapped = []
    async with PipeFrame(1) as frame:
        for _ in range(4):
            reading = Reading(share(table_of(8192)))
            await frame.run(reading, [0])
            [(pid, _)] = reading.taken
            mapped.append(mappings(pid))
            gone = ref(reading.table)
            del reading
            async with asyncio.timeout(10):
                while gone() is not None:  # a turn of the loop, and what it has called is forgotten
                    gc.collect()
                    await asyncio.sleep(0)
    assert mapped == [1] * 4


async def test_who_writes_to_it_has_a_failure_and_changes_nothing() -> None:
    table = table_of(8192)
    pipeline = Writing(share(table))
    await PipeFrame(1).run(pipeline, [5])
    [failure] = pipeline.failures
    assert (failure.kind, failure.error_type, "read-only" in failure.message) == ("raised", "ValueError", True)
    assert table[5] == 5


async def test_a_worker_that_follows_one_that_died_reads_it_too() -> None:
    table = table_of()
    pipeline = Dying(share(table))
    report = await PipeFrame(1).run(pipeline, range(8))
    assert (report.delivered, report.failed) == (7, 1)
    assert {total for _, total in pipeline.taken} == {int(table.sum())}
    assert len({pid for pid, _ in pipeline.taken}) > 1


async def test_setup_reads_it() -> None:
    table = table_of(8192)
    pipeline = SetUp(share(table))
    await PipeFrame(1).run(pipeline, range(3))
    assert [total for _, total in pipeline.taken] == [int(table.sum())] * 3


async def test_a_record_has_it_and_it_comes_back_as_the_one_it_was() -> None:
    table = table_of()
    handle, pipeline = share(table), InRecords(None)
    await PipeFrame(2).run(pipeline, [(number, handle) for number in range(5)])
    assert [total for _, total, _ in pipeline.taken] == [int(table.sum()) + number for number in range(5)]
    assert all(back is handle for *_, back in pipeline.taken)


def with_a_table_each(records: int) -> Iterator[tuple[int, Shared[Any]]]:
    for number in range(records):
        yield number, share(table_of(8))


async def test_a_handle_of_a_record_alone_is_there_as_long_as_that() -> None:
    descriptors = len(os.listdir("/proc/self/fd"))
    pipeline = Forgetting(None)
    report = await PipeFrame(2, buffer_size=10).run(pipeline, with_a_table_each(100))
    assert (report.delivered, report.failed) == (100, 0)
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == descriptors


async def test_one_whose_record_was_on_disk_is_to_be_kept_and_that_is_said() -> None:
    pipeline = Forgiving(None)
    report = await PipeFrame(1, buffer_size=4).run(pipeline, with_a_table_each(20))
    assert (report.fed, report.delivered + report.failed) == (20, 20)
    assert report.failed > 0
    assert {failure.kind for failure in pipeline.failures} == {"unpicklable"}
    assert all("Keep what share(obj) has returned" in failure.message for failure in pipeline.failures)


async def test_it_wears_no_worker_out() -> None:
    pipeline = Reading(share(table_of(3 * TABLE)))
    async with PipeFrame(1, max_worker_rss=2 * TABLE) as frame:  # a worker with numpy is as large as one, as a rule
        report = await frame.run(pipeline, range(5))
    assert report.worker_restarts == 0
    assert len({pid for pid, _ in pipeline.taken}) == 1


@pytest.mark.parametrize("executor", ["threads", "inline"])
async def test_in_threads_it_is_never_pickled(executor: str) -> None:
    descriptors = os.listdir("/proc/self/fd")
    table = table_of(8192)
    pipeline = Reading(share(table))
    await PipeFrame(1, executor=executor).run(pipeline, [0])
    assert pipeline.taken == [(os.getpid(), int(table.sum()))]
    assert pipeline.table._origin._file is None
    assert os.listdir("/proc/self/fd") == descriptors


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
async def test_somebody_elses_executor_reads_it_however_its_workers_start(method: str) -> None:
    table = table_of(8192)
    pipeline = Reading(share(table))
    with ProcessPoolExecutor(1, multiprocessing.get_context(method)) as pool:
        await PipeFrame(1, executor=pool).run(pipeline, range(3))
    assert {total for _, total in pipeline.taken} == {int(table.sum())}
    assert os.getpid() not in {pid for pid, _ in pipeline.taken}


async def test_what_cannot_be_pickled_is_refused_before_anything_starts() -> None:
    fed: list[int] = []

    def feed() -> Iterator[int]:
        fed.append(0)
        yield 0

    expected = r"Reading cannot be sent .* share\(\) of an object of type builtins.generator.* 'table' of Reading\)"
    with pytest.raises(ConfigError, match=expected):
        await PipeFrame(1).run(Reading(share(number for number in range(3))), feed)
    assert fed == []


async def test_where_workers_cannot_map_it_each_has_one_that_is_read_only_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(unnamed, "can_be_found", lambda: False)
    table = table_of(8192)
    reading, writing = Reading(share(table)), Writing(share(table))
    async with PipeFrame(1) as frame:
        await frame.run(reading, [0])
        await frame.run(writing, [0])
    assert [total for _, total in reading.taken] == [int(table.sum())]
    assert [failure.error_type for failure in writing.failures] == ["ValueError"]


SCRIPT = '''
import dataclasses, os, sys
import numpy
from pipeframe_async import PipelineEngine, run, share, unnamed

unnamed.MEMORY = "memory"
if "--without-memfd" in sys.argv:
    del os.memfd_create

@dataclasses.dataclass
class Price:
    """Is named by the table alone, and by a step."""
    net: float

class Rate:
    def __init__(self, rate):
        self.rate = rate

TABLE = share({"prices": numpy.arange(100_000.0), "bread": Price(2.0), "vat": Rate(3.0)})

def priced(record):
    table = TABLE.value
    assert type(table["bread"]) is Price, "the class that the step knows"
    if record == 2 and "--killed" in sys.argv:
        os.kill(int(os.environ["PROGRAM"]), 9)
    return float(table["prices"][record]) * table["bread"].net * table["vat"].rate, table["prices"].flags.owndata

class Priced(PipelineEngine):
    steps = [lambda record: (priced(record), True)]
    def sink(self, results):
        print(*results, sep="\\n")

os.environ["PROGRAM"] = str(os.getpid())
run(Priced, range(3), cpu_count=1)
'''


@pytest.mark.parametrize("arguments", [(), ("--without-memfd",)], ids=["memfd", "no memfd"])
def test_a_global_of_a_script_goes_along_as_a_handle_with_the_classes_it_names(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    done = _script(tmp_path, *arguments)
    assert done.stdout == "(0.0, False)\n(6.0, False)\n(12.0, False)\n", done.stderr


@pytest.mark.parametrize("arguments", [(), ("--without-memfd",)], ids=["memfd", "no memfd"])
def test_nothing_is_left_of_it_when_the_program_is_killed(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = _script(tmp_path, "--killed", *arguments)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert [*(tmp_path / "memory").iterdir(), *(tmp_path / "temporary").iterdir()] == []


def _script(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it with places of its own for files, which it has made none of before."""
    script = place / "script.py"
    script.write_text(SCRIPT)
    for name in ("memory", "temporary"):
        (place / name).mkdir()
    env = {**os.environ, "TMPDIR": str(place / "temporary")}
    command = [sys.executable, str(script), *arguments]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        done = subprocess.run(command, stdout=out, stderr=err, text=True, timeout=50, cwd=place, env=env, check=False)
        for stream in (out, err):
            stream.seek(0)
        return subprocess.CompletedProcess(command, done.returncode, out.read(), err.read())


async def test_workers_that_are_spawned_read_it() -> None:
    from pipeframe_async._worker import codec
    from pipeframe_async.wire import ChainSpec, Packed, Reply

    table = table_of(8192)
    reading = Reading(share(table))
    lanes = ProcessLanes(1, "spawn")
    try:
        chain = lanes.load(ChainSpec(("read",), (reading.read,), reading))
        reply = await lanes.lanes[0].run(chain, 0, Packed(1, codec.dumps([0])), ship=True)
        assert isinstance(reply, Reply)
        [[(_, total)], _] = lanes.codec.unpack(reply, "read")
        assert total == int(table.sum())
    finally:
        await lanes.close(kill=False, timeout=5)


def test_a_handle_is_typed() -> None:
    handle: Shared[dict[str, int]] = share({"a": 1})
    assert handle.value["a"] == 1
