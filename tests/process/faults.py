"""Everything that one record may do to a run: faulty records, faulty steps, and what must become of each.

`FAULTS` is the table. A fault is a record that does harm by itself (`record`) or a step that does it when it meets
the record `Bad(name)` (`does`); `kind` is the failure it must end as, or None where it must do no harm at all.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import ctypes
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, NoReturn

from pipeframe_async.model import FailureKind
from tests.worker import hostile

LIMIT = 0.5
"""Seconds: the `time_limit` of what hangs. Smaller blames a good record on a busy machine, larger is waited for."""


@dataclass(frozen=True, slots=True)
class Bad:
    """The record that makes the step `act` do the fault of this name."""

    name: str


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault and what must come of it.

    `kind` None: the record is delivered like any other. `step` or `error_type` empty: any. `text` is searched in
    the error's type and message, `trace` in its traceback; None: there need not be one. `deadly`: it costs its worker.
    """

    name: str
    kind: FailureKind | None
    does: Callable[[], Any] | None = None
    record: Callable[[], Any] | None = None
    step: str = "act"
    error_type: str = ""
    text: str = ""
    trace: str | None = None
    deadly: bool = False
    time_limit: float | None = None
    setup: Callable[[], None] | None = None

    def bad_record(self) -> Any:
        return Bad(self.name) if self.record is None else self.record()


# What a step may raise.


def recurses() -> Any:
    return recurses()


def raises(make: Callable[[], BaseException]) -> Callable[[], NoReturn]:
    def raising() -> NoReturn:
        raise make()

    return raising


def hoards_memory() -> Any:
    hoard = []
    while True:
        hoard.append(bytearray(16 * 2**20))


def limits_memory() -> None:
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + 256 * 2**20, hard))


kept_open: list[Any] = []


def opens_files_until_it_cannot() -> Any:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    while True:
        kept_open.append(open(os.devnull))  # noqa: SIM115 - kept on purpose


# How a worker may die.


def sends_itself(number: signal.Signals) -> Callable[[], Any]:
    def sending() -> Any:
        os.kill(os.getpid(), number)
        time.sleep(1000)

    return sending


def segfaults() -> Any:
    ctypes.string_at(0)


def aborts() -> Any:
    os.abort()


def burns_its_processor_time() -> Any:
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (1, hard))
    while True:
        pass


def closes_every_descriptor() -> Any:
    os.closerange(0, 65536)
    return "closed", True


def starts_children_and_dies() -> Any:
    subprocess.Popen(["sleep", "1000"])
    if os.fork() == 0:
        time.sleep(1000)
        os._exit(0)
    os.kill(os.getpid(), signal.SIGKILL)


def dies_in_its_fan_out() -> Iterator[tuple[Any, bool]]:
    yield "first", True
    yield "second", True
    os._exit(7)


# How a step may hang.


def sleeps() -> Any:
    while True:
        time.sleep(1000)


def spins() -> Any:
    while True:
        pass


def waits_for_a_lock() -> Any:
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def swallows_everything() -> Any:
    while True:
        try:
            time.sleep(0.001)
        except BaseException:
            continue


def blows_up_in_a_regex() -> Any:
    """Holds the GIL for longer than anybody waits."""
    re.match(r"(a+)+$", "a" * 64 + "b")


def hangs_in_its_fan_out() -> Iterator[tuple[Any, bool]]:
    yield "first", True
    sleeps()


# What does no harm to the run.


def starts_threads_that_never_end() -> Any:
    for _ in range(3):
        threading.Thread(target=threading.Event().wait).start()
    return "started", True


def changes_signal_handlers() -> Any:
    for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return "changed", True


def changes_directory() -> Any:
    os.chdir("/")
    return "gone", True


def closes_stdout() -> Any:
    sys.stdout.close()
    os.close(1)
    return "closed", True


def prints_a_lot() -> Any:
    with open(os.devnull, "wb") as file:  # where standard output leads is the user's business
        os.dup2(file.fileno(), 1)
    for _ in range(100):
        print("x" * 2**20)
    return "printed", True


# Records and results that do harm where they are written or read. None of them harms the process that made it:
# should a record be read where it must not be, its test fails instead of ending the session.


def dies_elsewhere(home: int) -> Any:
    if os.getpid() != home:
        os._exit(7)
    raise AssertionError("read in the process that made it")


def hangs_elsewhere(home: int) -> Any:
    if os.getpid() != home:
        sleeps()
    raise AssertionError("read in the process that made it")


def fails_elsewhere(home: int) -> Any:
    if os.getpid() != home:
        raise OSError("cannot be read here")
    return "readable"


@dataclass(frozen=True)
class ReadBy:
    """Pickles as a call of this function with the number of the process that pickled it."""

    function: Callable[[int], Any]

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, (os.getpid(),)


class HangsWhenWritten:
    def __reduce__(self) -> tuple[Any, ...]:
        return sleeps()  # type: ignore[no-any-return]


class DiesWhenWritten:
    def __reduce__(self) -> tuple[Any, ...]:
        os._exit(7)


def deep(levels: int) -> list[Any]:
    nested: list[Any] = []
    for _ in range(levels):
        nested = [nested]
    return nested


def returns(make: Callable[[], Any]) -> Callable[[], Any]:
    """A step whose result is a good pair with a bad value in it."""
    return lambda: (make(), True)


def raised(name: str, make: Callable[[], BaseException], error_type: str = "", text: str = "") -> Fault:
    return Fault(name, "raised", raises(make), error_type=error_type or name, text=text, trace="faults.py")


def shape(name: str, make: Callable[[], Any]) -> Fault:
    return Fault(name, "raised", make, error_type="StepError", text=r"'act' returned .*; expected \(record, True\)")


def bad_record(name: str, kind: FailureKind, make: Callable[[], Any], error_type: str = "", text: str = "") -> Fault:
    return Fault(name, kind, record=make, step="passes", error_type=error_type, text=text, deadly=kind == "crashed")


def bad_result(name: str, make: Callable[[], Any], error_type: str = "", text: str = "") -> Fault:
    return Fault(name, "unpicklable", returns(make), step="stamp", error_type=error_type, text=text)


def death(name: str, does: Callable[[], Any], text: str = "", trace: str | None = None) -> Fault:
    return Fault(name, "crashed", does, text=text, trace=trace, deadly=True)


def hang(name: str, does: Callable[[], Any], trace: str | None) -> Fault:
    return Fault(name, "timeout", does, trace=trace, deadly=True, time_limit=LIMIT)


LIST = (
    raised("ValueError", lambda: ValueError("bad"), text="bad"),
    raised("SystemExit", lambda: SystemExit(3), text="3"),
    raised("KeyboardInterrupt", KeyboardInterrupt),
    raised("StopIteration", StopIteration),
    raised("asyncio.CancelledError", asyncio.CancelledError, "CancelledError"),
    raised("futures.CancelledError", concurrent.futures.CancelledError, "CancelledError"),
    raised("TimeoutError", TimeoutError),
    raised("GeneratorExit", GeneratorExit),
    Fault("MemoryError", "raised", raises(MemoryError), error_type="MemoryError", trace="faults.py", deadly=True),
    raised("BrokenProcessPool", lambda: BrokenProcessPool("not this pool"), text="not this pool"),
    raised("ExceptionGroup", lambda: ExceptionGroup("both", [hostile.HoldsALock("one"), hostile.TwoArguments(2, "b")])),
    raised("error without a pickle", lambda: hostile.HoldsALock("locked"), "HoldsALock", "locked"),
    raised(
        "error with a pickle nobody can read", lambda: hostile.TwoArguments(404, "lost"), "TwoArguments", "404 lost"
    ),
    raised("error that exits when pickled", hostile.ErrorExitsWhenPickled, "ErrorExitsWhenPickled"),
    raised("error that cannot be printed", hostile.CannotBePrinted, "CannotBePrinted", "could not be made"),
    raised("error that exits when printed", hostile.ExitsWhenPrinted, "ExitsWhenPrinted", "could not be made"),
    raised("error of 50 MB", lambda: ValueError("x" * 50_000_000), "ValueError", "xxxx"),
    Fault("recursion", "raised", recurses, error_type="RecursionError", trace="recurses"),
    Fault(
        "memory under a limit",
        "raised",
        hoards_memory,
        error_type="MemoryError",
        trace="hoards",
        deadly=True,
        setup=limits_memory,
    ),
    Fault(
        "no descriptors left", "raised", opens_files_until_it_cannot, error_type="OSError", text="Too many open files"
    ),
    shape("returns None", lambda: None),
    shape("returns a 1-tuple", lambda: ("record",)),
    shape("returns a 3-tuple", lambda: ("record", True, True)),
    shape("returns a flag that is no bool", lambda: ("record", 1)),
    shape("returns a lambda", lambda: lambda: None),
    bad_record("record is a lambda", "unpicklable", lambda: lambda: None, text="(?i)pickle|local object"),
    bad_record("record is a lock", "unpicklable", threading.Lock, "TypeError", "cannot pickle"),
    bad_record("record exits when pickled", "unpicklable", hostile.ExitsWhenPickled, "SystemExit"),
    bad_record(
        "record raises when pickled", "unpicklable", hostile.RaisesWhenPickled, "ValueError", "no state to give"
    ),
    bad_record("record raises when read", "unpicklable", hostile.RaisesWhenRead, "OSError", "cannot be read"),
    bad_record("record exits when read", "unpicklable", hostile.ExitsWhenRead, "SystemExit", "ended the program"),
    bad_record("record dies when read", "crashed", lambda: ReadBy(dies_elsewhere), text="code 7"),
    bad_result("result is a lambda", lambda: lambda: None, text="(?i)pickle|local object"),
    bad_result("result is a lock", threading.Lock, "TypeError", "cannot pickle"),
    bad_result("result exits when pickled", hostile.ExitsWhenPickled, "SystemExit"),
    bad_result("result raises when read", hostile.RaisesWhenRead, "OSError", "cannot be read"),
    bad_result("result exits when read", hostile.ExitsWhenRead, "SystemExit", "ended the program"),
    bad_result("result raises in the parent only", lambda: ReadBy(fails_elsewhere), "OSError", "cannot be read here"),
    bad_result("result is 200,000 deep", lambda: deep(200_000), "RecursionError"),
    Fault("result dies when pickled", "crashed", returns(DiesWhenWritten), step="stamp", text="code 7", deadly=True),
    death("os._exit(7)", lambda: os._exit(7), "code 7"),
    death("os._exit(0)", lambda: os._exit(0), "code 0"),
    death("segfault", segfaults, "SIGSEGV", "segfaults"),
    death("abort", aborts, "SIGABRT", "aborts"),
    death("SIGKILL", sends_itself(signal.SIGKILL), "SIGKILL"),
    death("SIGTERM", sends_itself(signal.SIGTERM), "SIGTERM"),
    death("processor time under a limit", burns_its_processor_time, "SIGXCPU"),
    # Its worker dies of it when all steps are done: which of them it was, nobody can say.
    Fault("closes every descriptor", "crashed", closes_every_descriptor, step="", deadly=True),
    death("starts children and dies", starts_children_and_dies, "SIGKILL"),
    death("dies in its fan-out", dies_in_its_fan_out, "code 7"),
    hang("sleeps for ever", sleeps, "sleeps"),
    hang("spins", spins, "spins"),
    hang("waits for a lock", waits_for_a_lock, "waits_for_a_lock"),
    hang("swallows every exception", swallows_everything, "swallows_everything"),
    hang("holds the GIL", blows_up_in_a_regex, "blows_up_in_a_regex"),
    hang("hangs in its fan-out", hangs_in_its_fan_out, "hangs_in_its_fan_out"),
    hang("stops itself", sends_itself(signal.SIGSTOP), None),
    Fault(
        "record hangs when read",
        "timeout",
        record=lambda: ReadBy(hangs_elsewhere),
        step="passes",
        trace="hangs_elsewhere",
        deadly=True,
        time_limit=LIMIT,
    ),
    Fault(
        "result hangs when pickled",
        "timeout",
        returns(HangsWhenWritten),
        step="stamp",
        trace="sleeps",
        deadly=True,
        time_limit=LIMIT,
    ),
    Fault("threads that never end", None, starts_threads_that_never_end),
    Fault("signal handlers changed", None, changes_signal_handlers),
    Fault("directory changed", None, changes_directory),
    Fault("stdout closed", None, closes_stdout),
    Fault("100 MB printed", None, prints_a_lot),
)

FAULTS = {fault.name: fault for fault in LIST}

REPRESENTATIVES = (
    "ValueError",
    "SystemExit",
    "error with a pickle nobody can read",
    "memory under a limit",
    "returns None",
    "record is a lock",
    "record exits when read",
    "record dies when read",
    "result is a lambda",
    "result raises when read",
    "os._exit(7)",
    "segfault",
    "SIGKILL",
    "closes every descriptor",
    "starts children and dies",
    "sleeps for ever",
    "holds the GIL",
    "stops itself",
    "threads that never end",
)
"""One of every way a fault is found, for start methods that are too slow for all."""


# The steps of a pipeline that meets a fault.


def passes(record: Any) -> tuple[Any, bool]:
    """Takes long enough for the batches beside to be at work when the fault strikes."""
    time.sleep(0.0003)
    return record, True


def act(record: Any) -> Any:
    """Does what the record's fault does; good records go on."""
    if not isinstance(record, Bad):
        return record, True
    does = FAULTS[record.name].does
    assert does is not None
    return does()


def answers_slowly(record: Any) -> tuple[Any, bool]:
    time.sleep(0.01)
    return record, True


def stamp(record: Any) -> tuple[tuple[Any, int], bool]:
    """The result says which worker made it."""
    return (record, os.getpid()), True
