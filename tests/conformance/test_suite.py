"""The suite itself: it comes to the right verdict on executors that break what they should keep, and always returns."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

import pytest

from pipeframe_async import ConfigError
from pipeframe_async.testing import conform
from pipeframe_async.testing.conformance import suite
from pipeframe_async.testing.conformance.__main__ import main
from tests.conformance import doubles
from tests.conftest import shown

pytestmark = pytest.mark.process

ORDER = "every record is delivered once, in input order"
RAISES = "a record that raises costs itself"
BUFFER = "never more records are in flight than buffer_size"
TWO_RUNS = "two runs at the same time get each its own results"
NOT_SHUT_DOWN = "an executor that was given is not shut down"
NO_MORE_WORK = "an executor that takes no more work ends the run with an error and balanced books"
DEATH = "a record that ends its worker by os._exit costs itself"


def verdict(make: Callable[[], Executor], case: str, patience: float = 20.0) -> tuple[bool | None, str, str]:
    found = conform(make, cases=[case], patience=patience)[case]
    return found.held, found.reason, found.detail


def test_an_executor_that_conforms_does_so() -> None:
    found = conform(ThreadPoolExecutor, cases=[ORDER, RAISES, NOT_SHUT_DOWN])
    assert found.name == "ThreadPoolExecutor"
    assert [verdict.case for verdict in found.verdicts] == [ORDER, RAISES, NOT_SHUT_DOWN]
    found.check()


def test_an_executor_may_be_made_by_a_function_that_nobody_can_import() -> None:
    workers = 3
    conform(lambda: ThreadPoolExecutor(workers), cases=[ORDER]).check()


@pytest.mark.parametrize("make", [doubles.Deserting, doubles.Blocking])
def test_an_executor_that_hangs_is_found_out_and_the_other_cases_are_run(make: Callable[[], Executor]) -> None:
    found = conform(make, cases=[ORDER, RAISES], patience=0.5)
    assert [(verdict.case, verdict.reason) for verdict in found.broken] == [(ORDER, "hung"), (RAISES, "hung")]


def test_an_executor_that_ends_the_interpreter_is_found_out_with_its_last_words() -> None:
    assert verdict(doubles.Exiting, ORDER) == (False, "interpreter ended", "code 3: out of licences")


def test_a_function_that_ends_the_interpreter_is_found_out() -> None:
    assert verdict(doubles.fatal, ORDER) == (False, "interpreter ended", "code 4")


def test_a_case_after_one_that_ended_the_interpreter_is_run() -> None:
    found = conform("threads", cases=[DEATH, ORDER])
    assert [verdict.held for verdict in found.verdicts] == [False, True]
    assert found[DEATH].reason == "interpreter ended"


def test_an_executor_that_loses_results_is_found_out() -> None:
    held, reason, _ = verdict(doubles.Pruning, ORDER)
    assert (held, reason) == (False, "run ended: InternalError")


def test_an_executor_that_is_closed_from_the_start_is_found_out() -> None:
    held, reason, detail = verdict(doubles.ClosedAtOnce, ORDER)
    assert (held, reason) == (False, "run ended: StateError")
    assert "cannot schedule new futures after shutdown (0 of 200 delivered)" in detail


def test_an_executor_that_cannot_be_shut_down_goes_on_with_its_run() -> None:
    assert verdict(doubles.StubbornlyOpen, NO_MORE_WORK) == (False, "the run did not fail", "")


def test_what_is_about_given_executors_does_not_apply_to_ours() -> None:
    found = conform("inline", cases=[NOT_SHUT_DOWN])
    assert found[NOT_SHUT_DOWN].held is None
    found.check()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"executor": "fibres"}, "executor='fibres': must be 'processes', 'threads', 'inline', 'auto', or a function"),
        ({"executor": 3}, "executor=3: must be"),
        ({"cases": ["pigs fly"]}, "cases=\\['pigs fly'\\]: there are no such cases"),
        ({"cases": ORDER}, "must be names of cases, not one name"),
        ({"executor": doubles.nothing, "cases": [ORDER]}, "returned None; expected a concurrent.futures.Executor"),
        ({"executor": doubles.unlucky, "cases": [ORDER]}, "raised OSError: no cluster today"),
    ],
    ids=lambda value: shown(value)[:40],
)
def test_what_cannot_be_tried_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        conform(**options)


def test_a_process_that_cannot_begin_is_told_with_its_last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite, "_PROGRAM", "raise SystemExit('no room')")
    with pytest.raises(ConfigError, match=r"interpreter ended before any case \(code 1: no room\)"):
        conform("inline", cases=[ORDER])


def test_an_executor_instead_of_a_function_is_refused() -> None:
    with ThreadPoolExecutor() as executor, pytest.raises(ConfigError, match="pass a function that makes one"):
        conform(executor)  # type: ignore[arg-type]


def test_a_function_that_cannot_be_pickled_is_refused() -> None:
    lock = threading.Lock()
    with pytest.raises(ConfigError, match=r"cannot be pickled: cannot pickle '_thread\.lock'"):
        conform(lambda: ThreadPoolExecutor(int(lock.locked())), cases=[ORDER])


def test_the_command_prints_verdicts_and_fails_where_one_is_no(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["threads", "--case", ORDER]) == 0
    assert "threads: 1 held, 0 did not" in capsys.readouterr().out
    assert main(["tests.conformance.doubles:Exiting", "--case", ORDER]) == 1
    assert "interpreter ended (code 3: out of licences)" in capsys.readouterr().out


def test_the_command_refuses_what_names_no_executor() -> None:
    with pytest.raises(SystemExit, match="'fibres': must be one of processes, threads"):
        main(["fibres"])
