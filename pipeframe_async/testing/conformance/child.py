"""Runs cases, one after the other, in a process that may end or hang at any of them.

Comes in: a file with the task. Goes out: a line of JSON when a case begins, and one with what became of it.
"""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import sys
import tempfile
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, TextIO

from pipeframe_async.testing.conformance.cases import CASES
from pipeframe_async.testing.conformance.rig import Case, Make, NoExecutor, NotApplicable, NotHeld, Rig

TASK: Final = "task"
FINDINGS: Final = "findings"
"""Names of the files, in the folder that both processes know."""


class Task(NamedTuple):
    """What is to be run."""

    make: Make
    workers: int
    cases: tuple[str, ...]


def main(folder: str) -> None:
    """Run the task in this folder. Never returns: threads that hang must not keep this process."""
    _no_core_dumps()
    with (Path(folder) / FINDINGS).open("a", encoding="utf-8") as findings:
        try:
            task = Task(*pickle.loads((Path(folder) / TASK).read_bytes()))  # noqa: S301 - our parent's own bytes
            for name in task.cases:
                _tell(findings, begun=name)
                _tell(findings, **_tried(CASES[name], task))
        except BaseException:
            _tell(findings, problem=traceback.format_exc())
        os._exit(0)


def _tried(case: Case, task: Task) -> dict[str, Any]:
    """Run one case. Only a function that makes no executor is an error here."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        rig = Rig(task.make, task.workers, Path(folder))
        held: bool | None = True
        reason = detail = ""
        try:
            asyncio.run(case.check(rig))
        except NotHeld as verdict:
            held, reason, detail = False, verdict.reason, verdict.detail
        except NotApplicable as verdict:
            held, reason = None, str(verdict)
        except NoExecutor:
            raise
        except BaseException as error:
            held, reason, detail = False, f"run ended: {type(error).__name__}", str(error)
        finally:
            rig.close()
        return {
            "case": case.name,
            "held": held,
            "reason": reason,
            "detail": detail,
            "seconds": time.monotonic() - start,
        }


def _tell(findings: TextIO, **what: Any) -> None:
    findings.write(json.dumps(what) + "\n")
    findings.flush()


def _no_core_dumps() -> None:
    """Processes are about to die on purpose: nobody wants their memory on disk."""
    if sys.platform == "win32":
        return  # it makes none
    import resource

    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
