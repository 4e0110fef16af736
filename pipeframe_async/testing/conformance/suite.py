"""`conform`: runs an executor through the cases, in a process that is replaced whenever a case ends or hangs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import cloudpickle

from pipeframe_async.errors import ConfigError
from pipeframe_async.executors.choose import NAMES
from pipeframe_async.executors.processes.reap import kill_family
from pipeframe_async.testing.conformance.cases import CASES
from pipeframe_async.testing.conformance.child import FINDINGS, TASK, Task
from pipeframe_async.testing.conformance.clusters import DASK
from pipeframe_async.testing.conformance.rig import Make
from pipeframe_async.testing.conformance.verdicts import Conformance, Verdict

LOOK_INTERVAL: Final = 0.02
"""Seconds between looks at what the child has found. Shorter burns CPU that it could use, longer is waited for."""

START_SECONDS: Final = 30.0
"""Seconds for the child to begin: it imports the library, and what the executor is made with."""

TIDY_SECONDS: Final = 1.0
"""Seconds that what a case leaves behind may take to end before it is killed. Shorter leaves semaphores of killed
pools behind, longer is waited for where something does not listen."""

_PROGRAM: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from pipeframe_async.testing.conformance.child import main; main(sys.argv[2])"
)


def conform(
    executor: Make = "processes",
    *,
    workers: int = 2,
    cases: Iterable[str] | None = None,
    patience: float = 20.0,
    name: str | None = None,
) -> Conformance:
    """Run an executor through the suite, and say which guarantee holds with it.

    Each case is a pipeline of a few batches with, mostly, one bad record. All of it happens in a process of its
    own, for a case may end its interpreter or never return; this call returns in any case.

    Args:
        executor: a name or address that `PipeFrame(executor=...)` takes, `"dask"` for a cluster that is started on this
            machine, or a function without arguments (a class will do) that makes a new `concurrent.futures.Executor`
            each time: one that broke cannot be used again.
        workers: how many workers an executor gets that is given by name, ≥ 1. Some cases need two to say much.
        cases: names of the cases to run. None: all, see `CASES`.
        patience: seconds that a case may take; one that takes longer hangs.
        name: what the findings call the executor. Default: its own name.

    Returns:
        The verdicts, in the order of the suite; see `Conformance.check`.

    Raises:
        ConfigError: there is no such executor or case, or the function makes none.

    Process: the function is pickled, by value where it is not importable.
    """
    wanted = _wanted(cases)
    _check(executor)
    verdicts: dict[str, Verdict] = {}
    while rest := tuple(case for case in wanted if case not in verdicts):
        for verdict in _Child(Task(executor, workers, rest), patience).verdicts():
            verdicts[verdict.case] = verdict
    return Conformance(name or _name(executor), tuple(verdicts[case] for case in wanted))


def _wanted(cases: Iterable[str] | None) -> tuple[str, ...]:
    if isinstance(cases, str):
        raise ConfigError(f"cases={cases!r}: must be names of cases, not one name")
    wanted = tuple(dict.fromkeys(CASES if cases is None else cases))
    if unknown := [case for case in wanted if case not in CASES]:
        raise ConfigError(f"cases={unknown!r}: there are no such cases; CASES lists them")
    return wanted


def _check(executor: object) -> None:
    if isinstance(executor, Executor):
        raise ConfigError(
            f"executor={executor!r}: pass a function that makes one, for a broken executor cannot be used again"
        )
    if not (callable(executor) or (isinstance(executor, str) and _is_name(executor))):
        allowed = ", ".join(repr(name) for name in NAMES)
        raise ConfigError(f"executor={executor!r}: must be {allowed}, or a function that makes an Executor")


def _is_name(executor: str) -> bool:
    return executor in (*NAMES, DASK) or executor.startswith(("dask://", "dask+tls://"))


def _name(executor: Make) -> str:
    return executor if isinstance(executor, str) else getattr(executor, "__name__", type(executor).__name__)


class _Child:
    """One process that runs cases until it ends, or hangs."""

    def __init__(self, task: Task, patience: float) -> None:
        self._task = task
        self._patience = patience

    def verdicts(self) -> Iterator[Verdict]:
        """The verdicts it comes to, and one on the case at which it ended or hung; at least one.

        Raises:
            ConfigError: it did not get to any case.
        """
        begun, some, since = "", False, time.monotonic()
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name, self._started(Path(name)) as process:
            for found in self._findings(process, Path(name)):
                if "problem" in found:
                    raise ConfigError(f"executor={self._task.make!r} cannot be tried:\n{found['problem']}")
                begun, some, since = found.get("begun", ""), True, time.monotonic()
                if not begun:
                    yield Verdict(**found)
            seconds = time.monotonic() - since
            over = process.returncode is not None
            reason = "interpreter ended" if over else "hung"
            detail = _ending(process.returncode, Path(name)) if over else f"for {seconds:.0f} s"
            if begun:
                yield Verdict(begun, False, reason, detail, seconds)
            elif not some:
                raise ConfigError(f"executor={self._task.make!r} cannot be tried: {reason} before any case ({detail})")

    def _findings(self, process: subprocess.Popen[bytes], place: Path) -> Iterator[dict[str, Any]]:
        """What the process tells, until it has ended or nothing was told for as long as patience lasts."""
        deadline = time.monotonic() + START_SECONDS
        with (place / FINDINGS).open(encoding="utf-8") as findings:
            over = False
            while not over and time.monotonic() < deadline:
                over = process.poll() is not None  # asked before the last look, so that it misses nothing
                for found in _lines(findings):
                    yield found
                    deadline = time.monotonic() + self._patience
                if not over:
                    time.sleep(LOOK_INTERVAL)

    @contextmanager
    def _started(self, place: Path) -> Iterator[subprocess.Popen[bytes]]:
        """The process; it and all it has started are ended with the block."""
        (place / TASK).write_bytes(self._pickled())
        (place / FINDINGS).touch()
        with (place / "output").open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, json.dumps(sys.path), str(place)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            _end(process)

    def _pickled(self) -> bytes:
        try:
            return cloudpickle.dumps(tuple(self._task))  # type: ignore[no-any-return]
        except Exception as error:
            raise ConfigError(f"executor={self._task.make!r} cannot be pickled: {error}") from error


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and all it has started.

    Asked before they are killed: the trackers that Python and loky start for their semaphores do not listen, but
    see that everybody else has gone, tidy up and go.
    """
    deadline = time.monotonic() + TIDY_SECONDS
    while _asked(process.pid) and time.monotonic() < deadline:
        process.poll()
        time.sleep(LOOK_INTERVAL)
    kill_family(process.pid)
    process.kill()
    process.wait()


def _asked(group: int) -> bool:
    """Ask a process group to end; False where there is none any more."""
    if sys.platform == "win32":
        return False  # it has no groups
    try:
        os.killpg(group, signal.SIGTERM)
    except OSError:  # this one is gone
        return False
    return True


def _lines(findings: Any) -> Iterator[dict[str, Any]]:
    """The lines that are complete by now."""
    while True:
        place = findings.tell()
        line = findings.readline()
        if not line.endswith("\n"):
            findings.seek(place)
            return
        yield json.loads(line)


def _ending(code: int, place: Path) -> str:
    """How the process ended, and the last it said."""
    said = (place / "output").read_text("utf-8", errors="replace").strip().splitlines()
    how = f"signal {-code}" if code < 0 and os.name != "nt" else f"code {code}"
    return f"{how}: {said[-1]}" if said else how
