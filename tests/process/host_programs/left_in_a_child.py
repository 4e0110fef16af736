"""A program whose children end with a `stream()` open, one after the other; says how each has ended."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from itertools import count

from pipeframe_async import apply, pipeline, stream

kept: list[Iterator[int]] = []


def begin() -> None:
    results = stream(pipeline(apply(abs), source="stream"), count, cpu_count=1)
    next(results)
    kept.append(results)


if __name__ == "__main__":
    for _ in range(12):
        child = multiprocessing.get_context("fork").Process(target=begin)
        child.start()
        child.join(10)
        print("ended with", child.exitcode, flush=True)
        if child.is_alive():
            child.kill()
            child.join()
            break
