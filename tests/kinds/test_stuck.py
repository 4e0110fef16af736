"""Nobody waits for ever, nobody is blamed for what was not its doing, and nothing stays behind: in real programs."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.process.host_programs.started import Program, linux, posix, program

pytestmark = [pytest.mark.process, posix]

RUN = """
import asyncio, atexit, gc, os, re, signal, sys, threading, time, warnings
from pathlib import Path
from pipeframe_async import PipeFrame, PipelineEngine, PipeFrameError, apply, run
class P(PipelineEngine):
    steps, feed = [apply(abs)], range(10)
"""


def lines(place: Path, code: str) -> list[str]:
    with program(place, "-c", RUN + code) as running:
        assert running.ends(within=40) == 0, running.written
        running.leaves_nobody()
        return running.written.splitlines()


HOLDS_BETWEEN_BATCHES = """
def holds():
    {how}
def step(n):
    if n == 2:
        threading.Timer(0.02, holds).start()  # when its record is done
    return n, True
class Held(PipelineEngine):
    steps, time_limit, max_failures, batch_size, source, timeout = [step], 0.3, None, 1, "stream", None
    async def feed(self):
        for n in range(6):
            await asyncio.sleep(0.05)
            yield n
report = run(Held, cpu_count=1)
print(report.delivered, report.failed)
"""


@linux
@pytest.mark.parametrize("how", ["re.match('(a+)+$', 'a' * 64 + 'b')", "os.kill(os.getpid(), signal.SIGSTOP)"])
def test_a_worker_that_does_not_begin_is_replaced_and_nobody_blamed(how: str, tmp_path: Path) -> None:
    assert lines(tmp_path, HOLDS_BETWEEN_BATCHES.format(how=how)) == ["6 0"]


FROZEN_FOR_A_WHILE = """
def step(n):
    time.sleep(0.05)
    return n, True
class Limited(PipelineEngine):
    steps, feed, time_limit, max_failures = [step], range(60), 0.4, None
    def sink(self, values):
        Path("at work").touch()
    source = "stream"
report = run(Limited, cpu_count=2)
print(report.delivered, report.failed)
"""


def send(running: Program, number: signal.Signals) -> None:
    for process in running.family():
        os.kill(process.pid, number)


@linux
def test_a_freeze_of_all_processes_blames_nobody(tmp_path: Path) -> None:
    with program(tmp_path, "-c", RUN + FROZEN_FOR_A_WHILE) as running:
        running.wait_for_file("at work")
        send(running, signal.SIGSTOP)
        time.sleep(0.8)  # the freeze itself, twice the limit
        send(running, signal.SIGCONT)
        assert running.ends(within=30) == 0, running.written
        assert running.written == "60 0\n"


CRASHES = """
class Crashes(PipelineEngine):
    def setup(self):
        if Path("broken").exists():
            os._exit(7)
    steps = [apply(abs)]
async def said(frame, pipeline):
    try:
        return await frame.call(pipeline, -3)
    except PipeFrameError as error:
        return type(error).__name__
async def main():
    bad = Crashes()
    Path("broken").touch()
    async with PipeFrame(1) as frame:
        print(await said(frame, P), await said(frame, bad), await said(frame, P))
        os.remove("broken")
        deadline = time.monotonic() + 20
        while (again := await said(frame, bad)) != 3 and time.monotonic() < deadline:
            await asyncio.sleep(0.1)
        print(again)
asyncio.run(main())
"""


@linux
def test_a_setup_that_crashes_is_that_pipelines_failure_and_mends_with_its_cause(tmp_path: Path) -> None:
    assert lines(tmp_path, CRASHES) == ["3 WorkerLost 3", "3"]


STAYS = """
def step(n):
    if n == 0:
        threading.Thread(target=time.sleep, args=(60,), name="exporter").start()
    return n, True
class Stays(PipelineEngine):
    steps, feed = [step], range(10)
began = time.monotonic()
print(run(Stays, cpu_count=1, drain_timeout=30).delivered)
print(time.monotonic() - began < 10)
"""


@linux
def test_a_thread_that_a_step_has_left_does_not_hold_up_the_end_and_is_named(tmp_path: Path) -> None:
    word, *rest = sorted(lines(tmp_path, STAYS), key=len, reverse=True)
    assert word.endswith("exporter would not end")
    assert rest == ["True", "10"]


LEAVES_A_POOL = """
import multiprocessing
from concurrent.futures import {pool} as Pool
pools = []
def step(n):
    if not pools:
        pools.append(Pool(2{context}))
    return pools[0].submit(abs, n).result(), True
class Leaves(PipelineEngine):
    steps, feed = [step], range(10)
print(run(Leaves, cpu_count=1).delivered)
"""


@linux
@pytest.mark.parametrize(
    ("pool", "context"),
    [
        ("ThreadPoolExecutor", ""),
        ("ProcessPoolExecutor", ""),
        ("ProcessPoolExecutor", ", multiprocessing.get_context('spawn')"),
        ("ProcessPoolExecutor", ", multiprocessing.get_context('fork')"),
    ],
)
def test_a_pool_that_a_step_has_left_ends_as_at_the_end_of_a_program(pool: str, context: str, tmp_path: Path) -> None:
    assert lines(tmp_path, LEAVES_A_POOL.format(pool=pool, context=context)) == ["10"]


LEAVES_CHILDREN = """
import subprocess
def step(n):
    if n == 0:
        atexit.register(Path("atexit was called").touch)
        for stays in (False, True):
            child = subprocess.Popen(["sleep", "60"], start_new_session=stays)
            Path(f"stays {stays}").write_text(str(child.pid))
    return n, True
class Leaves(PipelineEngine):
    steps, feed = [step], range(10)
def lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
print(run(Leaves, cpu_count=1).delivered)
ends, stays = (int(Path(f"stays {stays}").read_text()) for stays in (False, True))
deadline = time.monotonic() + 10
while lives(ends) and time.monotonic() < deadline:
    time.sleep(0.01)
print(lives(ends), lives(stays), Path("atexit was called").exists())
os.kill(stays, signal.SIGKILL)
"""


@linux
def test_a_child_of_a_step_ends_with_its_worker_unless_it_was_started_to_stay(tmp_path: Path) -> None:
    assert lines(tmp_path, LEAVES_CHILDREN) == ["10", "False True False"]


DROPPED = """
warnings.simplefilter("always")
async def main():
    frame = PipeFrame(2)
    await frame.__aenter__()
    await frame.run(P)
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    for _ in range(2):
        asyncio.run(main())
        gc.collect()
print([w.category.__name__ for w in said if "dropped" in str(w.message)])
Path("dropped").touch()
while not Path("end").exists():
    time.sleep(0.01)
"""


@linux
def test_frames_that_are_dropped_open_say_so_and_leave_no_workers(tmp_path: Path) -> None:
    with program(tmp_path, "-c", RUN + DROPPED) as running:
        running.wait_for_file("dropped")
        servers = ("forkserver", "resource_tracker")
        running.wait_until(lambda: not [p for p in running.family() if p.parent not in (running.process.pid, own())])
        assert all(any(s in p.command for s in servers) for p in running.family((running.process.pid,)))
        (tmp_path / "end").touch()
        assert running.ends(within=20) == 0, running.written
        assert "['ResourceWarning', 'ResourceWarning']" in running.written


def own() -> int:
    return os.getpid()


PRINTS = """
def step(n):
    print("step", n)
    if n == 3:
        {end}
    return n, True
class Prints(PipelineEngine):
    steps, feed, time_limit, max_failures = [step], range(5), 0.4, None
run(Prints, cpu_count=1)
"""


@linux
@pytest.mark.parametrize("end", ["time.sleep(100)", "os._exit(1)", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_what_a_step_has_printed_is_not_lost_with_its_worker(end: str, tmp_path: Path) -> None:
    said = lines(tmp_path, PRINTS.format(end=end))
    assert {f"step {n}" for n in range(5)} <= set(said)


FORKS = """
def step(n):
    with open("log", "a") as log:
        log.write(str(n))
    if n == 3:
        pid = os.fork()
        if pid == 0:
            {leave}
            return n, True
        os.waitpid(pid, 0)
    return n, True
class Forks(PipelineEngine):
    steps, feed, batch_size, max_failures = [step, apply(abs)], range(8), 8, None
    def sink(self, values):
        print(sorted(values))
run(Forks, cpu_count=1, executor={executor!r})
print(open("log").read())
"""


@linux
@pytest.mark.parametrize("executor", ["processes", "threads", "inline"])
@pytest.mark.parametrize("leave", ["pass", "sys.exit(0)", "raise ValueError", "sys.exit('')"])
def test_the_child_of_a_step_does_not_go_on_with_the_batch(executor: str, leave: str, tmp_path: Path) -> None:
    said = [line for line in lines(tmp_path, FORKS.format(leave=leave, executor=executor)) if line]
    assert said == ["[0, 1, 2, 3, 4, 5, 6, 7]", "01234567"]


POOL_THAT_FORKS = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
class SetUp(PipelineEngine):
    feed = [1]
    def __init__(self):
        self.pids = []
    def setup(self):
        self.pid = os.getpid()
        Path(f"at setup {self.pid}").touch()
        while len(list(Path().glob("at setup *"))) < 2 and WAITS:
            time.sleep(0.01)  # in this thread, while the other pool forks and sets up as well
    def where(self, n):
        return (self.pid, os.getpid()), True
    steps = [where]
    def sink(self, pids):
        self.pids += pids
async def main():
    with ThreadPoolExecutor(1) as threads, ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as processes:
        pipeline = SetUp()
        first = asyncio.create_task(PipeFrame(1, executor=threads).run(pipeline))
        while not (list(Path().glob("at setup *")) if WAITS else first.done()):
            await asyncio.sleep(0.01)
        await asyncio.gather(first, PipeFrame(1, executor=processes).run(pipeline))
    print(len({pid for pid, _ in pipeline.pids}), [pid == here for pid, here in pipeline.pids])
for WAITS in (True, False):
    asyncio.run(main())
"""


@linux
def test_a_pool_that_forks_this_process_sets_up_for_itself_whoever_is_at_it_here(tmp_path: Path) -> None:
    assert lines(tmp_path, POOL_THAT_FORKS) == ["2 [True, True]"] * 2


LIMITED = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, ({files}, {files}))
print(run(P, range(500), cpu_count={workers}).delivered)
"""


@linux
@pytest.mark.parametrize(("files", "workers"), [(256, 15), (128, 6)])
def test_a_large_fleet_fits_under_a_small_limit_of_descriptors(files: int, workers: int, tmp_path: Path) -> None:
    assert lines(tmp_path, LIMITED.format(files=files, workers=workers)) == ["500"]
