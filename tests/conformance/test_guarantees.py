"""The table of `docs/guarantees.md` is what the suite finds: all of it for worker processes, what is quick for others.

A difference is a change of behaviour. Where it is meant, the page has the command that makes the table anew.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipeframe_async.testing import conform
from pipeframe_async.testing.conformance import CASES, costs, ends, flow
from pipeframe_async.testing.conformance.page import table_of
from pipeframe_async.testing.conformance.rig import Case
from pipeframe_async.testing.conformance.usual import USUAL
from tests.real.servers import missing

PAGE = Path(__file__).parents[2] / "docs" / "guarantees.md"
TABLE = table_of(PAGE.read_text("utf-8"))

SLOW = {
    "the event loop turns while a step holds the GIL",
    "a record over its time_limit is ended and costs itself",
    "a record over its time_limit in C code that holds the GIL is ended too",
    "leaving a stream early stops the work",
    "cancelling a run stops the work",
}
"""They take seconds where nothing can end a step."""

FOREIGN = (
    "every record is delivered once, in input order",
    "teardown runs at the end of each worker",
    "a record that raises SystemExit, KeyboardInterrupt or CancelledError costs itself",
    "a result that cannot be pickled or unpickled costs its record",
    "a record that ends its worker by os._exit costs itself",
    "the books balance after a worker's death",
    "workers that cannot start end the run with WorkerLost and balanced books",
    "an executor that takes no more work ends the run with an error and balanced books",
    "an executor that was given is not shut down",
)
"""What tells pools of others from ours and from each other. Each case starts a pool, so these are few."""


def test_the_table_has_all_cases_and_executors() -> None:
    assert list(TABLE) == list(USUAL)
    assert [list(column) for column in TABLE.values()] == [list(CASES)] * len(USUAL)


@pytest.mark.parametrize("executor", ["processes", "dask"])
def test_worker_processes_hold_everything_here_and_on_a_cluster(executor: str) -> None:
    assert {case: cell for case, cell in TABLE[executor].items() if cell != "yes"} == {
        "an executor that takes no more work ends the run with an error and balanced books": "–",
        "an executor that was given is not shut down": "–",
    }


def check(executor: str, cases: Sequence[str]) -> None:
    found = conform(USUAL[executor], cases=cases, name=executor)
    assert {verdict.case: str(verdict) for verdict in found.verdicts} == {
        case: TABLE[executor][case] for case in cases
    }, str(found)


@pytest.mark.process
@pytest.mark.parametrize("cases", [flow.CASES, costs.CASES, ends.CASES], ids=["flow", "costs", "ends"])
def test_the_table_is_true_for_worker_processes(cases: Sequence[Case]) -> None:
    check("processes", [case.name for case in cases])


@pytest.mark.process
@pytest.mark.parametrize("executor", ["threads", "inline"])
def test_the_table_is_true_in_this_process(executor: str) -> None:
    check(executor, [case for case in CASES if case not in SLOW])


@pytest.mark.process
@pytest.mark.parametrize("executor", ["loky", "ProcessPoolExecutor"])
def test_the_table_is_true_for_pools_of_others(executor: str) -> None:
    check(executor, FOREIGN)


@pytest.mark.process
@pytest.mark.cluster
@pytest.mark.timeout(240)
def test_the_table_is_true_for_a_dask_cluster() -> None:
    if importlib.util.find_spec("distributed") is None:
        missing("distributed")
    check("dask", [*CASES])
