"""What does a record cost in the worker? `python -m benchmarks.chain [--quick] [--json FILE]`.

Three trivial steps on small ints, in each form that steps come in, through the worker's chain and through the loop
one writes by hand for steps of that form. One thread, its CPU time, batches as a worker gets them, medians of many
turns; the chain writes its cursor to shared memory, counts calls and times a sample of them, the loop does nothing.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryFile
from time import thread_time_ns
from typing import Any

from benchmarks.asking.measure import Machine
from benchmarks.asking.table import aligned
from pipeframe_async import DROP, apply, keep_if
from pipeframe_async._worker.chain import Chain
from pipeframe_async._worker.cursor import NBYTES, Cursor
from pipeframe_async.steps import KeepIf, Wrapped
from pipeframe_async.wire import ChainSpec

QUESTION = "chain"
BATCH = 2_500
"""Records; what batches of trivial records come to by themselves."""
SIZES = (BATCH, 100, 1)
TURNS = 400

Step = Callable[[Any], Any]


def add_one(record: int) -> tuple[int, bool]:
    return record + 1, True


def double(record: int) -> tuple[int, bool]:
    return record * 2, True


def flip(record: int) -> tuple[int, bool]:
    return ~record, True


def flagged(record: int) -> tuple[int, bool]:
    return record + 1, record >= 0


def passed_on(record: int) -> tuple[int, bool]:
    outcome = record + 1, True
    return outcome  # noqa: RET504 - a form that cannot be known before the call


def two_of_three(record: int) -> Any:
    return (record, True) if record % 3 else DROP


def plus_one(record: int) -> int:
    return record + 1


def doubled(record: int) -> int:
    return record * 2


def is_even(record: int) -> bool:
    return record % 2 == 0


class Steps:
    """Steps that are methods."""

    more = 1

    def add(self, record: int) -> tuple[int, bool]:
        return record + self.more, True


def by_hand(steps: Sequence[Step], records: Sequence[int]) -> list[int]:
    """For steps that never drop."""
    results = []
    for record in records:
        for step in steps:
            record, keep_going = step(record)
            if not keep_going:
                break
        results.append(record)
    return results


def by_hand_with_drop(steps: Sequence[Step], records: Sequence[int]) -> list[int]:
    results = []
    for record in records:
        for step in steps:
            outcome = step(record)
            if outcome is DROP:
                break
            record, keep_going = outcome
            if not keep_going:
                results.append(record)
                break
        else:
            results.append(record)
    return results


def by_hand_of_functions(steps: Sequence[Wrapped[Any, Any]], records: Sequence[int]) -> list[int]:
    """For `apply` alone: the functions themselves."""
    functions, results = [step.fn for step in steps], []
    for record in records:
        for function in functions:
            record = function(record)
        results.append(record)
    return results


def by_hand_with_predicates(steps: Sequence[Wrapped[Any, Any]], records: Sequence[int]) -> list[int]:
    stages, results = [(type(step) is KeepIf, step.fn) for step in steps], []
    for record in records:
        for filters, function in stages:
            if not filters:
                record = function(record)
            elif not function(record):
                break
        else:
            results.append(record)
    return results


@dataclass(frozen=True, slots=True)
class Form:
    """Three steps of one kind, and the loop one writes for them."""

    key: str
    label: str
    steps: tuple[Any, ...]
    by_hand: Callable[[Sequence[Any], Sequence[int]], list[int]] = by_hand
    time_limit: float | None = None


FUNCTIONS = (add_one, double, flip)
FORMS = (
    Form("functions", "functions: `return record, True`", FUNCTIONS),
    Form("time_limit", "the same, with a `time_limit`", FUNCTIONS, time_limit=10.0),
    Form("methods", "methods: `return record, True`", (Steps().add, Steps().add, Steps().add)),
    Form("flags", "`return record, flag`", (flagged, flagged, flagged)),
    Form("unknown", "`return outcome`", (passed_on, passed_on, passed_on)),
    Form("drop", "a third is dropped: `DROP`", (two_of_three, add_one, double), by_hand_with_drop),
    Form("apply", "`apply(fn)`", (apply(plus_one), apply(doubled), apply(plus_one)), by_hand_of_functions),
    Form(
        "keep_if",
        "`apply`, `keep_if` (half), `apply`",
        (apply(plus_one), keep_if(is_even), apply(doubled)),
        by_hand_with_predicates,
    ),
)


class WrongWork(Exception):
    """Ours and the loop by hand have come to different results."""


def contestants(form: Form, records: list[int], cursor: Cursor) -> tuple[Callable[[], object], Callable[[], object]]:
    """Ours, and the loop by hand; both have been run, and came to the same."""
    chain = Chain(ChainSpec(tuple(map(str, form.steps)), form.steps, None, form.time_limit))
    chain.setup()

    def ours() -> list[int]:
        return chain.run(records, cursor.cells).results

    def hand() -> list[int]:
        return form.by_hand(form.steps, records)

    for _ in range(3):  # the first batch is timed record by record
        if ours() != hand():
            raise WrongWork(form.key)
    return ours, hand


def measured(turns: int, cursor: Cursor) -> dict[str, dict[int, dict[str, float]]]:
    """Nanoseconds of CPU a record: by form, batch size and contestant, the median of so many turns."""
    found: dict[str, dict[int, dict[str, float]]] = {form.key: {size: {} for size in SIZES} for form in FORMS}
    for size in SIZES:
        records = list(range(size))
        calls = {
            (form.key, who): call
            for form in FORMS
            for who, call in zip(("ours", "by_hand"), contestants(form, records, cursor), strict=True)
        }
        spent: dict[tuple[str, str], list[int]] = {key: [] for key in calls}
        for _ in range(turns):
            for key, call in calls.items():
                started = thread_time_ns()
                call()
                spent[key].append(thread_time_ns() - started)
        for (form_key, who), times in spent.items():
            found[form_key][size][who] = median(times) / size
    return found


@contextmanager
def on_one_core() -> Iterator[None]:
    """Without moves between cores, where that can be had."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def table(found: dict[str, dict[int, dict[str, float]]]) -> str:
    sizes = [f"in batches of {size:,}" if size > 1 else "alone" for size in SIZES[1:]]
    rows = [["three steps, ns a record", "ours", "by hand", "ours / by hand", *(f"ours {size}" for size in sizes)]]
    for form in FORMS:
        by = found[form.key]
        ours, hand = by[BATCH]["ours"], by[BATCH]["by_hand"]
        others = [f"{by[size]['ours']:,.0f}" for size in SIZES[1:]]
        rows.append([form.label, f"{ours:.0f}", f"{hand:.0f}", f"{ours / hand:.2f}", *others])
    return aligned(rows)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chain", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a few turns: does it run?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the figures go")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="taken as by all questions; this one has no picture")
    options = parser.parse_args(argv)
    machine, turns = Machine.here(), 2 if options.quick else TURNS
    with TemporaryFile() as shared, on_one_core():
        shared.truncate(max(NBYTES, mmap.PAGESIZE))
        cursor = Cursor(shared.fileno())  # a shared mapping, as a worker's is
        found = measured(turns, cursor)
        cursor.close()
    print(f"{machine}; one thread, medians of {turns} turns, batches of {BATCH:,}:\n\n{table(found)}")
    if options.json:
        options.json.write_text(json.dumps(as_json(machine, turns, found), indent=1) + "\n")


def as_json(machine: Machine, turns: int, found: dict[str, dict[int, dict[str, float]]]) -> dict[str, Any]:
    rows = [{"key": form.key, "label": form.label, "ns": found[form.key]} for form in FORMS]
    return {"question": QUESTION, "machine": machine.as_json(), "turns": turns, "batch": BATCH, "forms": rows}


if __name__ == "__main__":
    main()
