"""The peers under torture, each as its documentation recommends, in the form that loses least.

Where a library cuts the batches, it gets the step as it is: what one record of a batch costs the others is its
answer. Where its user has to cut them, `faults.each` stands for the user's care. Limits of time are used
where there are any, errors are taken one by one where they are offered so, and workers start the way the library
starts them unless told otherwise. A peer is imported when it is asked to work, since none needs to be there.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from importlib import import_module
from typing import Any

from benchmarks.torturing.faults import each
from benchmarks.torturing.job import PATIENCE, TIME_LIMIT, WORKERS, Job


def executor_map(job: Job) -> None:
    """The standard library cuts; `map` ends with the first error."""
    with ProcessPoolExecutor(WORKERS) as pool:
        for result in pool.map(job.step, job.records, chunksize=job.batch_size):
            job.deliver(result)


def executor_by_hand(job: Job) -> None:
    """One future a batch: the errors of one are not those of another."""
    with ProcessPoolExecutor(WORKERS) as pool:
        job.collect(pool)


def pool_imap(job: Job) -> None:
    """The standard library's older pool cuts."""
    with multiprocessing.Pool(WORKERS) as pool:
        for result in pool.imap_unordered(job.step, job.records, chunksize=job.batch_size):
            job.deliver(result)


def pool_by_hand(job: Job) -> None:
    """Batches by hand can be waited for with a limit; its own `chunksize` takes that away."""
    with multiprocessing.Pool(WORKERS) as pool:
        batches = pool.imap_unordered(partial(each, job.step), job.batches())
        for outcomes in _one_by_one(lambda: batches.next(timeout=PATIENCE), job, multiprocessing.TimeoutError):
            job.take(outcomes)


def mpire_imap(job: Job) -> None:
    """Mpire cuts, and ends with the first error."""
    mpire = import_module("mpire")
    with mpire.WorkerPool(n_jobs=WORKERS) as pool:
        results = pool.imap_unordered(
            job.step, job.records, chunk_size=job.batch_size, task_timeout=TIME_LIMIT, iterable_len=len(job.records)
        )
        for result in results:
            job.deliver(result)


def mpire_by_hand(job: Job) -> None:
    """`apply_async` keeps errors apart."""
    mpire = import_module("mpire")
    with mpire.WorkerPool(n_jobs=WORKERS) as pool:
        promised = [pool.apply_async(each, args=(job.step, batch), task_timeout=TIME_LIMIT) for batch in job.batches()]
        for promise in promised:
            try:
                outcomes = promise.get()
            except Exception as error:
                job.failed(error)
            else:
                job.take(outcomes)
        pool.stop_and_join()


def joblib_parallel(job: Job) -> None:
    """Joblib cuts; a generator of results ends with the first error."""
    joblib = import_module("joblib")
    parallel = joblib.Parallel(
        n_jobs=WORKERS, batch_size=job.batch_size, timeout=PATIENCE, return_as="generator_unordered"
    )
    for result in parallel(joblib.delayed(job.step)(record) for record in job.records):
        job.deliver(result)


def loky_by_hand(job: Job) -> None:
    """The pool under joblib, used as an executor."""
    job.collect(import_module("loky").get_reusable_executor(max_workers=WORKERS))


def pebble_map(job: Job) -> None:
    """Pebble cuts; its limit is for a batch, and its iterator goes on after an error."""
    pebble = import_module("pebble")
    with pebble.ProcessPool(max_workers=WORKERS) as pool:
        results = pool.map(job.step, job.records, chunksize=job.batch_size, timeout=TIME_LIMIT).result()
        for result in _one_by_one(lambda: next(results), job):
            job.deliver(result)


def pebble_one_by_one(job: Job) -> None:
    """No batches: what pebble is made for, at the price of a hop per record."""
    pebble = import_module("pebble")
    with pebble.ProcessPool(max_workers=WORKERS) as pool:
        futures = [pool.schedule(job.step, args=(record,), timeout=TIME_LIMIT) for record in job.records]
        for future in as_completed(futures):
            try:
                job.deliver(future.result())
            except Exception as error:
                job.failed(error)


def spdl_region(job: Job) -> None:
    """SPDL cuts: stages moved to worker processes, with transfers as large as a batch."""
    spdl, defs = import_module("spdl.pipeline"), import_module("spdl.pipeline.defs")
    workers = defs.ProcessPoolExecutorConfig(max_workers=WORKERS)
    builder = (
        spdl.PipelineBuilder()
        .add_source(job.records)
        .to(workers, buffer_size=job.batch_size)
        .pipe(job.step)
        .to(defs.MAIN_PROCESS, buffer_size=job.batch_size)
    )
    for result in _out_of(builder):
        job.deliver(result)


def spdl_by_hand(job: Job) -> None:
    """A stage on an executor, with batches aggregated before it."""
    spdl = import_module("spdl.pipeline")
    with ProcessPoolExecutor(WORKERS) as pool:
        builder = (
            spdl.PipelineBuilder()
            .add_source(job.records)
            .aggregate(job.batch_size)
            .pipe(partial(each, job.step), executor=pool, concurrency=WORKERS)
            .disaggregate()
        )
        for outcome in _out_of(builder):
            job.take([outcome])


def streamable_by_hand(job: Job) -> None:
    """Groups mapped in an executor, errors caught in the stream; `as_completed=True` would hang where this ends."""
    streamable = import_module("streamable")
    with ProcessPoolExecutor(WORKERS) as pool:
        outcomes = (
            streamable.stream(job.records)
            .group(job.batch_size)
            .map(partial(each, job.step), concurrency=pool)
            .catch(Exception, do=job.failed)
            .flatten()
        )
        for outcome in outcomes:
            job.take([outcome])


def pypeln_map(job: Job) -> None:
    """Pypeln has no batches; the first error ends the stage."""
    stage = import_module("pypeln").process.map(job.step, job.records, workers=WORKERS, timeout=TIME_LIMIT)
    for result in stage:
        job.deliver(result)


def _out_of(builder: Any) -> Iterator[Any]:
    """What comes out of an SPDL pipeline, waited for with a limit."""
    pipeline = builder.add_sink(1_000).build(num_threads=WORKERS)
    with pipeline.auto_stop():
        yield from pipeline.get_iterator(timeout=PATIENCE)


def _one_by_one(take: Callable[[], Any], job: Job, final: type[Exception] | tuple[()] = ()) -> Iterator[Any]:
    """Results of an iterator that goes on after an error, but for the `final` ones."""
    while True:
        try:
            result = take()
        except StopIteration:
            return
        except Exception as error:
            job.failed(error)
            if isinstance(error, final):
                return
        else:
            yield result
