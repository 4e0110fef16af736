"""One contestant does one job that others measure pools by, in a process of its own.

`python -m benchmarks.cells.by_others JOB CONTESTANT QUICK` prints JSON: seconds, seconds for which the machine's cores
were busy, the peak resident bytes of this process, and what came out of it.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from pipeframe_async import PipeFrame, PipelineEngine, Shared, apply, share

WORKERS = 2
Image = NDArray[numpy.float64]


class Through(PipelineEngine[Any, Any]):
    """One step."""

    source = "stream"

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.steps = [apply(function)]


def by_ours(function: Callable[[Any], Any], tasks: Sequence[Any]) -> list[Any]:
    """`frame.stream`, default knobs."""

    async def main() -> list[Any]:
        async with PipeFrame(cpu_count=WORKERS).stream(Through(function), iter(tasks)) as results:
            return [result async for result in results]

    return asyncio.run(main())


def by_joblib(function: Callable[[Any], Any], tasks: Sequence[Any]) -> list[Any]:
    """`batch_size="auto"`, which is its default."""
    library = import_module("joblib")
    results: list[Any] = library.Parallel(n_jobs=WORKERS)(library.delayed(function)(task) for task in tasks)
    return results


def by_executor(function: Callable[[Any], Any], tasks: Sequence[Any]) -> list[Any]:
    """`map` with its default of one task a chunk."""
    with ProcessPoolExecutor(WORKERS) as pool:
        return [*pool.map(function, tasks)]


POOLS = {"ours": by_ours, "joblib": by_joblib, "executor": by_executor}


def nothing(number: int) -> int:
    """A call that costs what a call costs."""
    return number


def sleeps(seconds: float) -> int:
    """A task that takes so long; a tenth of a megabyte comes back of it."""
    time.sleep(seconds)
    return int(numpy.ones(100_000, dtype=numpy.byte).sum())


def convolved(image: Any, kernel: Image) -> float:
    """An image under a filter, thinned out."""
    plain = image.value if isinstance(image, Shared) else image
    return float(import_module("scipy.signal").convolve2d(plain, kernel)[::5, ::5].sum())


def prefixes(document: Sequence[str]) -> Counter[str]:
    """How often each beginning of three letters is among the words."""
    return Counter(word[:3] for word in document)


def cyclic() -> list[float]:
    """Tasks of up to 0.1 s whose length comes and goes, most of them next to nothing."""
    return [float(0.1 * wave) for wave in numpy.cos(numpy.linspace(1, 4 * numpy.pi, 300)) ** 8]


def shuffled() -> list[float]:
    """The same in any order."""
    tasks = cyclic()
    numpy.random.default_rng(0).shuffle(tasks)
    return tasks


def varied(count: int = 5_000) -> list[float]:
    """Tasks of half a millisecond, of which one half is nothing and the other longer."""
    return [max(0.0, float(seconds)) for seconds in numpy.random.default_rng(0).normal(1e-6, 1e-3, count)]


def even(count: int = 5_000) -> list[float]:
    """As long in all, each alike."""
    return [sum(varied(count)) / count] * count


def documents(count: int) -> Iterator[list[str]]:
    """Texts of two thousand made-up words."""
    letters, draw = numpy.array([*"abcdefghijklmnopqrstuvwxyz"]), numpy.random.default_rng(0)
    for _ in range(count):
        yield ["".join(word) for word in letters[draw.integers(0, 26, (2_000, 6))]]


def images(pool: str, quick: bool) -> tuple[Callable[[Any], Any], Sequence[Any]]:
    """One image that all tasks have, and a filter for each."""
    size, count = (100, 4) if quick else (1_500, 40)
    draw = numpy.random.default_rng(0)
    image: Any = draw.normal(size=(size, size))
    return partial(convolved, share(image) if pool == "ours" else image), [*draw.normal(size=(count, 4, 4))]


JOBS: dict[str, Callable[[str, bool], tuple[Callable[[Any], Any], Sequence[Any]]]] = {
    "calls": lambda pool, quick: (nothing, range(200 if quick else 20_000)),
    "cyclic": lambda pool, quick: (sleeps, cyclic()[: 30 if quick else None]),
    "shuffled": lambda pool, quick: (sleeps, shuffled()[: 30 if quick else None]),
    "varied": lambda pool, quick: (sleeps, varied()[: 50 if quick else None]),
    "even": lambda pool, quick: (sleeps, even()[: 50 if quick else None]),
    "filters": images,
    "prefixes": lambda pool, quick: (prefixes, [*documents(4 if quick else 400)]),
}


def payload(nbytes: int, number: int) -> dict[str, Image]:
    """What a loader of arrays makes of a number."""
    array: Image = numpy.full(nbytes // 8, float(number))
    return {"data": array}


def shipped_by_ours(nbytes: int, count: int) -> float:
    """One worker makes them, and they come here, one after the other; the sum of what is looked at of each."""

    async def main() -> float:
        seen = 0.0
        async with PipeFrame(cpu_count=1).stream(Through(partial(payload, nbytes)), range(count)) as results:
            async for item in results:
                seen += float(item["data"][-1])
        return seen

    return asyncio.run(main())


def shipped_by_spdl(nbytes: int, count: int, arena: Any = None) -> float:
    """A pipeline in a process of its own makes them."""
    library = import_module("spdl.pipeline")
    config = library.PipelineBuilder().add_source(range(count)).pipe(partial(payload, nbytes)).add_sink(3).get_config()
    options = {} if arena is None else {"arena": arena}
    seen = 0.0
    for item in library.run_pipeline_in_subprocess(config, num_threads=1, **options):
        seen += float(item["data"][-1])
        del item  # what is seen in its place can be used again
    return seen


def shipped(contestant: str, nbytes: int, count: int) -> float:
    """The arrays, in one way."""
    if contestant == "ours":
        return shipped_by_ours(nbytes, count)
    library = import_module("spdl.pipeline")
    room = nbytes + 2**16
    arenas: dict[str, Callable[[], Any]] = {
        "spdl": lambda: None,
        "spdl_ring": lambda: library.SharedMemoryRingBuffer(8 * room),
        "spdl_pool": lambda: library.SharedMemorySegmentPool(room, 8),
    }
    return shipped_by_spdl(nbytes, count, arenas[contestant]())


def busy_seconds() -> float:
    """Of all cores, for anybody: workers are not all children of this process."""
    user, nice, system, *_ = map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:])
    return (user + nice + system) / os.sysconf("SC_CLK_TCK")


def main(job: str, contestant: str, quick: bool) -> None:
    """Do it, and say what it took."""
    busy = busy_seconds()
    if job.startswith("arena"):
        nbytes = int(job.removeprefix("arena"))
        count = 4 if quick else max(16, 512 * 2**20 // nbytes)
        began = time.perf_counter()
        tasks, found = count, [count, shipped(contestant, nbytes, count)]
    else:
        function, those = JOBS[job](contestant, quick)
        tasks, busy, began = len(those), busy_seconds(), time.perf_counter()
        results = POOLS[contestant](function, those)
        found = [len(results), round(float(sum(sum(r.values()) if isinstance(r, Counter) else r for r in results)), 3)]
    seconds, cpu = time.perf_counter() - began, busy_seconds() - busy
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"seconds": seconds, "tasks": tasks, "found": found, "cpu": cpu, "peak": peak}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3] == "True")
