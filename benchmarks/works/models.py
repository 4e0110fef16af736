"""Workload (f): `predict` of a forest of scikit-learn, rows of twenty floats in, a class out.

The forest is one of scikit-learn's defaults, a hundred trees, trained in each worker on rows that are the same in all:
a second. Rows are tuples, and come again after `ROWS` of them. Workers import this module.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from itertools import cycle, islice
from typing import Any

import numpy
from sklearn.ensemble import RandomForestClassifier

from benchmarks.works.workload import Done

Row = tuple[float, ...]

FLOATS = 20
ROWS = 8_192
"""That are different: more than a chunk has, so that none is in a pickle twice."""
CLASSES = 5
WEIGHTS = 101
"""A class counts by its place in the feed, modulo this: classes in another order add up to something else."""


@cache
def rows() -> list[Row]:
    """The rows that are different."""
    values = numpy.random.default_rng(20).normal(size=(ROWS, FLOATS))
    return [tuple(row) for row in values.tolist()]


@cache
def model() -> Any:
    """The forest, trained once a process."""
    known = numpy.asarray(rows()[:2_000])
    classes = (known[:, :3].sum(axis=1) * 2).astype(int) % CLASSES
    return RandomForestClassifier(random_state=20).fit(known, classes)


def feed(records: int) -> Iterator[Row]:
    """The first so many rows."""
    return islice(cycle(rows()), records)


def predict(chunk: list[Row]) -> list[int]:
    """Many at once."""
    classes: list[int] = model().predict(numpy.asarray(chunk)).tolist()
    return classes


def predict_one(row: Row) -> int:
    """One by itself."""
    return predict([row])[0]


def look(classes: Iterable[int]) -> Done:
    """Look at each class, and at its place."""
    count = checksum = 0
    for place, found in enumerate(classes):
        count += 1
        checksum += (place % WEIGHTS + 1) * found
    return Done(count, checksum)


@cache
def expected(records: int) -> Done:
    """What must have been found of so many rows."""
    return look(islice(cycle(predict(rows())), records))
