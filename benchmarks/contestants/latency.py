"""Who takes a live stream through two workers, each in the arrangement of threads and loops that serves it best.

Pools whose results call back are fed by a thread that blocks, and have their results timed in the thread they call back
in: no loop is in the way. What lives on a loop is fed on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

import uvloop

from benchmarks.contestants import line_up, peers
from benchmarks.contestants.ours_pipelines import Steps
from benchmarks.contestants.peers import WINDOW, WORKERS
from benchmarks.works.live import Live
from benchmarks.works.trivial import TRIVIAL, through
from pipeframe_async import PipeFrame

Main = Callable[[Live], Coroutine[Any, Any, None]]


def number_of(result: int) -> int:
    """Which record this is the result of."""
    return result // 2 - 1


def on_asyncio(main: Main, live: Live) -> None:
    """Python's own loop."""
    asyncio.run(main(live))


def on_uvloop(main: Main, live: Live) -> None:
    """The faster one."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(live))


async def nothing(live: Live) -> None:
    """No worker and no step: what the source and the reading cost."""
    async for number in live.arrivals():
        live.back(number)


async def ours(live: Live) -> None:
    """`frame.stream` with an async feed."""
    async with PipeFrame(cpu_count=WORKERS).stream(Steps(TRIVIAL), live.arrivals()) as results:
        async for result in results:
            live.back(number_of(result))


async def run_in_executor(live: Live) -> None:
    """A task a record."""
    loop = asyncio.get_running_loop()

    async def one(number: int) -> None:
        live.back(number_of(await loop.run_in_executor(workers, through, number)))

    with peers.pool() as workers:
        async with asyncio.TaskGroup() as tasks:
            async for number in live.arrivals():
                tasks.create_task(one(number))


async def aiomultiprocess(live: Live) -> None:
    """`Pool.apply`, a task a record."""
    library = import_module("aiomultiprocess")
    library.set_start_method("forkserver")
    peers.context()

    async def one(number: int) -> None:
        live.back(number_of(await workers.apply(awaited, (number,))))

    async with library.Pool(WORKERS) as workers, asyncio.TaskGroup() as tasks:
        async for number in live.arrivals():
            tasks.create_task(one(number))


async def awaited(record: int) -> int:
    """In a worker of aiomultiprocess, which takes only coroutine functions."""
    return through(record)


def submitted(open_pool: Callable[[], Executor], live: Live) -> None:
    """`submit` from a thread that reads, timed in the pool's own thread."""

    def done(future: Future[int]) -> None:
        live.back(number_of(future.result()))

    with open_pool() as workers:
        for number in live.blocking():
            workers.submit(through, number).add_done_callback(done)


def loky_pool() -> Executor:
    """A loky that is ended afterwards."""
    found: Executor = import_module("loky").ProcessPoolExecutor(WORKERS)
    return found


def apply_async(live: Live) -> None:
    """`apply_async` from a thread that reads, timed in the pool's own thread."""
    with peers.context().Pool(WORKERS) as workers:
        for number in live.blocking():
            workers.apply_async(through, (number,), callback=lambda result: live.back(number_of(result)))
        workers.close()
        workers.join()


def imap(live: Live) -> None:
    """The pool's own thread reads; results are taken in this one."""
    with peers.context().Pool(WORKERS) as workers:
        for result in workers.imap(through, live.blocking()):
            live.back(number_of(result))


def mpire(live: Live) -> None:
    """`apply_async`, timed in its own thread."""
    peers.context()
    with import_module("mpire").WorkerPool(n_jobs=WORKERS, start_method="forkserver") as workers:
        for number in live.blocking():
            workers.apply_async(through, (number,), callback=lambda result: live.back(number_of(result)))
        workers.stop_and_join()


def joblib(live: Live) -> None:
    """A generator of results, in order; no batches, and as few calls ahead as keep workers busy."""
    library = import_module("joblib")
    parallel = library.Parallel(n_jobs=WORKERS, batch_size=1, pre_dispatch=WINDOW, return_as="generator")
    try:
        for result in parallel(library.delayed(through)(number) for number in live.blocking()):
            live.back(number_of(result))
    finally:
        import_module("joblib.externals.loky").get_reusable_executor().shutdown(wait=True)


def pypeln(live: Live) -> None:
    """`process.map`: its thread reads, this one takes."""
    for result in import_module("pypeln").process.map(through, live.blocking(), workers=WORKERS):
        live.back(number_of(result))


def spdl(live: Live) -> None:
    """Source and stages on its own loop, in its own thread; this one takes."""
    builder = import_module("spdl.pipeline").PipelineBuilder()
    with peers.pool() as workers:
        builder = builder.add_source(live.arrivals()).pipe(through, executor=workers, concurrency=WINDOW)
        pipeline = builder.add_sink(WINDOW).build(num_threads=WORKERS)
        with pipeline.auto_stop():
            for result in pipeline:
                live.back(number_of(result))


def spdl_region(live: Live) -> None:
    """The same with the stage in a region of processes."""
    library, defs = import_module("spdl.pipeline"), import_module("spdl.pipeline.defs")
    region = defs.ProcessPoolExecutorConfig(max_workers=WORKERS, mp_context="forkserver")
    builder = library.PipelineBuilder().add_source(live.arrivals()).to(region, buffer_size=WINDOW)
    pipeline = builder.pipe(through).to(defs.MAIN_PROCESS).add_sink(WINDOW).build(num_threads=WORKERS)
    with pipeline.auto_stop():
        for result in pipeline:
            live.back(number_of(result))


@dataclass(frozen=True, slots=True)
class Contestant:
    """One way to do it.

    Attributes:
        key: its name in files; that of the peer where it is one from elsewhere.
        label: its name for people.
        run: reads the stream to its end, and says what is back.
        kind: "ours", "nothing" or "peer".
        loop: where records come in and results come back; none where that is in threads.
    """

    key: str
    label: str
    run: Callable[[Live], None]
    kind: str = "peer"
    loop: str = ""

    @property
    def is_here(self) -> bool:
        """Whether it can take part."""
        return line_up.is_here(self.key)


CONTESTANTS = (
    Contestant("nothing", "no workers: read and back", partial(on_uvloop, nothing), "nothing", "uvloop"),
    Contestant("ours", "ours", partial(on_uvloop, ours), "ours", "uvloop"),
    Contestant("ours_asyncio", "ours", partial(on_asyncio, ours), "ours", "asyncio"),
    Contestant("hop", "run_in_executor per record", partial(on_uvloop, run_in_executor), loop="uvloop"),
    Contestant("hop_asyncio", "run_in_executor per record", partial(on_asyncio, run_in_executor), loop="asyncio"),
    Contestant("submit", "ProcessPoolExecutor.submit, callback", partial(submitted, peers.pool)),
    Contestant("apply_async", "Pool.apply_async, callback", apply_async),
    Contestant("imap", "Pool.imap", imap),
    Contestant("loky", "loky submit, callback", partial(submitted, loky_pool)),
    Contestant("mpire", "mpire apply_async, callback", mpire),
    Contestant("joblib", "joblib generator", joblib),
    Contestant("pypeln", "pypeln process.map", pypeln),
    Contestant("aiomultiprocess", "aiomultiprocess apply", partial(on_asyncio, aiomultiprocess), loop="asyncio"),
    Contestant("spdl", "SPDL pipe(executor)", spdl),
    Contestant("spdl_region", "SPDL to(processes)", spdl_region),
)
