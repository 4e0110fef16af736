"""One cell of the torture table from outside: started, signalled, given up on after a time, and cleaned up after.

Processes are found by a tag in the environment they were started with, as /proc has it, so that orphans are found
too; only tagged ones are ever ended. Nothing here knows any contestant. Linux only.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.torturing.faults import Fault
from benchmarks.torturing.job import Told

TAG_NAME = "PIPEFRAME_TORTURE"
ROOT = Path(__file__).parents[2]
GRACE = 1.0
"""Seconds workers have after the script's end. Shorter, and tidy ones count as orphans; none of those go later."""
POLL_INTERVAL = 0.01
"""Seconds between two looks at a log or at /proc."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much work a cell gets, and for how long it may try.

    Attributes:
        records: how many, one of them bad.
        batch_size: records a batch.
        limit: seconds after which the script is taken for hung.
    """

    records: int
    batch_size: int
    limit: float


@dataclass(frozen=True, slots=True)
class Cell:
    """What became of one contestant under one fault.

    Attributes:
        contestant: its key.
        fault: its key.
        expected: good records.
        delivered: how many of them came out.
        repeated: how many of them came out more than once.
        hung: whether the script had not ended in time.
        orphans: processes left a second after its end; None if it was hung and had to be ended.
        saw: what its author was told; empty if nothing.
        signalled: whether the signal came in time; False where there is none to send.
        seconds: until the script's end, or until it was given up.
    """

    contestant: str
    fault: str
    expected: int
    delivered: int
    repeated: int
    hung: bool
    orphans: int | None
    saw: str
    signalled: bool
    seconds: float

    @property
    def lost(self) -> int:
        """Good records that never came out."""
        return self.expected - self.delivered

    def as_json(self) -> dict[str, Any]:
        """For a file."""
        return asdict(self)


def cell(contestant: str, fault: Fault, plan: Plan) -> Cell:
    """Run one cell and leave no process behind.

    Args:
        contestant: its key.
        fault: what goes wrong.
        plan: how much, how long.

    Returns:
        What became of it.
    """
    tag = uuid.uuid4().hex
    with tempfile.TemporaryDirectory() as place:
        log = Path(place, "log")
        started = time.monotonic()
        script = _start(contestant, fault, plan, log, tag)
        try:
            signalled = fault.signal is not None and _signal(script, fault.signal, log, started + plan.limit)
            hung = not _ends(script, started + plan.limit)
            seconds = time.monotonic() - started
            orphans = None if hung else _still_there(tag)
        finally:
            _end_all(tag, script)
        told = Told.in_log(log)
        saw = ", ".join(
            [*told.words, *(["a traceback on stderr"] if b"Traceback" in _output(log).read_bytes() else [])]
        )
    return Cell(
        contestant,
        fault.key,
        expected=plan.records - (fault.signal is None),
        delivered=len(told.delivered),
        repeated=sum(times > 1 for times in told.delivered.values()),
        hung=hung,
        orphans=orphans,
        saw=saw,
        signalled=signalled,
        seconds=round(seconds, 2),
    )


def _start(contestant: str, fault: Fault, plan: Plan, log: Path, tag: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "benchmarks.torturing.cell", contestant, fault.key]
    command += [str(plan.records), str(plan.batch_size), str(log)]
    with _output(log).open("wb") as output:
        return subprocess.Popen(
            command,
            cwd=log.parent,
            env={**os.environ, "PYTHONPATH": str(ROOT), TAG_NAME: tag},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def _output(log: Path) -> Path:
    return log.with_name("output")


def _signal(script: subprocess.Popen[bytes], number: signal.Signals, log: Path, deadline: float) -> bool:
    """Send it once the first result is out, when everybody is at work; False if there was nobody to send it to."""
    while script.poll() is None and time.monotonic() < deadline:
        if log.exists() and log.stat().st_size:
            script.send_signal(number)
            return True
        time.sleep(POLL_INTERVAL)
    return False


def _ends(script: subprocess.Popen[bytes], deadline: float) -> bool:
    try:
        script.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return False
    return True


def _still_there(tag: str) -> int:
    """Processes that have not gone within the grace; 0 as soon as there are none."""
    deadline = time.monotonic() + GRACE
    while (left := tagged(tag)) and time.monotonic() < deadline:
        time.sleep(POLL_INTERVAL)
    return len(left)


def _end_all(tag: str, script: subprocess.Popen[bytes]) -> None:
    """End what carries the tag, again and again: a dying pool may start another worker."""
    deadline = time.monotonic() + GRACE
    while (left := tagged(tag)) and time.monotonic() < deadline:
        for process in left:
            with contextlib.suppress(ProcessLookupError):  # it was faster
                os.kill(process, signal.SIGKILL)
        script.poll()  # a dead child that nobody asks about stays
        time.sleep(POLL_INTERVAL)
    script.wait()


def tagged(tag: str) -> list[int]:
    """Living processes that were started with the tag. One that is dead but not yet buried has no environment."""
    wanted = f"{TAG_NAME}={tag}".encode()
    return [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and wanted in _environment(entry).split(b"\0")
    ]


def _environment(entry: Path) -> bytes:
    try:
        return (entry / "environ").read_bytes()
    except OSError:  # gone by now, or somebody else's
        return b""
