"""The peers from elsewhere, each chunked by hand and driven as its documentation recommends where throughput counts.

Each gets a function of a list and the chunks, and gives what that function gave, chunk by chunk. Workers start by
forkserver where the library lets its user say so; loky and joblib have a start of their own, pypeln only Python's
default. Everybody ends its workers, those too that would be kept for a next time. A peer is imported when it is
asked to work, since none needs to be there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from typing import Any

from benchmarks.contestants.peers import WINDOW, WORKERS, Function, context, pool, windowed
from benchmarks.works.workload import Chunks


def mpire(function: Function, chunks: Chunks) -> Iterator[Any]:
    """`imap_unordered`; a chunk in a tuple, since mpire takes a list for many arguments."""
    context()  # its fork server is the standard library's: have the work imported there
    with import_module("mpire").WorkerPool(n_jobs=WORKERS, start_method="forkserver") as workers:
        arguments = ((chunk,) for chunk in chunks)
        yield from workers.imap_unordered(function, arguments, iterable_len=len(chunks), chunk_size=1)


def joblib(function: Function, chunks: Chunks) -> Iterator[Any]:
    """A generator of results, in order."""
    library = import_module("joblib")
    parallel = library.Parallel(n_jobs=WORKERS, batch_size=1, pre_dispatch=WINDOW, return_as="generator")
    try:
        yield from parallel(library.delayed(function)(chunk) for chunk in chunks)
    finally:
        import_module("joblib.externals.loky").get_reusable_executor().shutdown(wait=True)


def loky(function: Function, chunks: Chunks) -> Iterator[Any]:
    """The pool under joblib, with a window of its own."""
    with import_module("loky").ProcessPoolExecutor(WORKERS) as workers:
        yield from windowed(workers, function, chunks)


def pypeln(function: Function, chunks: Chunks) -> Iterator[Any]:
    """`process.map`: workers put what they have done into a queue, as it comes."""
    yield from import_module("pypeln").process.map(function, chunks, workers=WORKERS)


def aiomultiprocess(function: Function, chunks: Chunks) -> Iterator[Any]:
    """`Pool.map`, awaited as a whole: taken one by one, each chunk would wait for its next look, 5 ms later."""
    yield from asyncio.run(_mapped(function, chunks))


async def _mapped(function: Function, chunks: Chunks) -> list[Any]:
    library = import_module("aiomultiprocess")
    library.set_start_method("forkserver")
    context()
    async with library.Pool(WORKERS) as workers:
        results: list[Any] = list(await workers.map(partial(_awaited, function), chunks))
    return results


async def _awaited(function: Function, chunk: list[Any]) -> Any:
    """In a worker, which takes only coroutine functions."""
    return function(chunk)


def spdl(function: Function, chunks: Chunks) -> Iterator[Any]:
    """A stage on an executor, in order."""
    builder = import_module("spdl.pipeline").PipelineBuilder()
    with pool() as workers:
        builder = builder.add_source(chunks).pipe(function, executor=workers, concurrency=WINDOW, output_order="input")
        pipeline = builder.add_sink(WINDOW).build(num_threads=WORKERS)
        with pipeline.auto_stop():
            yield from pipeline


def spdl_region(function: Function, chunks: Chunks) -> Iterator[Any]:
    """A stage in a region of processes, to which records go in transfers of a size of its own; as they come."""
    library, defs = import_module("spdl.pipeline"), import_module("spdl.pipeline.defs")
    region = defs.ProcessPoolExecutorConfig(max_workers=WORKERS, mp_context="forkserver")
    builder = library.PipelineBuilder().add_source(chunks.uncut()).to(region, buffer_size=chunks.size)
    builder = builder.pipe(function).to(defs.MAIN_PROCESS, buffer_size=chunks.size)
    pipeline = builder.add_sink(chunks.size).build(num_threads=WORKERS)
    with pipeline.auto_stop():
        yield from pipeline
