"""`pipeframe demo --kill`: the demo as a job, killed in the middle, and run again.

The job is a process group of its own, with the very command a person would write; what it prints is seen as it comes.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import click

from pipeframe_async.cli.demo_pipeline import STDLIB, walked
from pipeframe_async.cli.exits import DONE, CommandFailed
from pipeframe_async.cli.options import FrameOptions
from pipeframe_async.errors import CheckpointMismatch
from pipeframe_async.state_file import look

KILLED_AT: Final = 0.4
"""The share of the files that are done when the job is killed."""
LOOK: Final = 0.05
"""Seconds between two looks at its state."""


def killed_and_resumed(root: Path | None, limit: int | None, options: FrameOptions) -> int:
    """Run the demo as a job, kill it in the middle, and run it again; returns the exit code.

    Raises:
        CommandFailed: it has failed by itself, or something was lost or is there twice.
    """
    if sys.platform == "win32":
        raise click.UsageError("--kill needs process groups, which this system has none of")
    place = Path(tempfile.mkdtemp(prefix="pipeframe-demo-"))
    total = asyncio.run(_count(root or STDLIB, limit))
    job = _command(root, limit, options)
    _say(f"In {place}, {total:,} files:")
    if not _run(job, place, kill_at=int(total * KILLED_AT)):
        return _judged(place, total)
    _run([*PROGRAM, "state", "demo.state"], place)
    _run(job, place)
    return _judged(place, total)


async def _count(root: Path, limit: int | None) -> int:
    return len([file async for file in walked(root, limit)])


PROGRAM: Final = (sys.executable, "-m", "pipeframe_async")


def _command(root: Path | None, limit: int | None, options: FrameOptions) -> list[str]:
    settings = {"root": root and root.resolve(), "limit": limit}
    given = [f"{name}={value}" for name, value in settings.items() if value is not None]
    frame = {"--cpu-count": options.cpu_count, "--executor": options.executor, "--progress": options.progress}
    ends = ["--sink", "out.jsonl", "--dead-letter", "odd.dead", "--checkpoint", "demo.state"]
    chosen = [text for name, value in frame.items() for text in (name, str(value))]
    sets = [text for setting in given for text in ("--set", setting)]
    return [*PROGRAM, "run", "pipeframe_async.cli.demo_job:StdlibJob", *ends, *sets, *chosen]


def _kill(process: subprocess.Popen[bytes]) -> None:
    """With all that it has started."""
    if sys.platform != "win32":
        os.killpg(process.pid, signal.SIGKILL)


def _run(command: list[str], place: Path, *, kill_at: int | None = None) -> bool:
    """Run a command and show it; whether it was killed, which it is when so many records are done."""
    _say(f"\n$ {shlex.join(['pipeframe', *command[len(PROGRAM) :]])}")
    with subprocess.Popen(command, cwd=place, start_new_session=True, env=_environment()) as process:
        try:
            while process.poll() is None:
                time.sleep(LOOK)
                if kill_at is not None and _done(place) >= kill_at:
                    _kill(process)
                    process.wait()
                    _say(f"\nkill -9 {-process.pid}: the job and all its workers, at {_done(place):,} files.")
                    return True
        except BaseException:
            with suppress(ProcessLookupError):
                _kill(process)
            raise
    if process.returncode not in (0, 1):  # some files are broken on purpose
        raise CommandFailed(f"it ended with {process.returncode}; what it left is in {place}")
    return False


def _environment() -> dict[str, str]:
    """Where this library is found, whatever directory the command is run in."""
    here = str(Path(__file__).parents[2])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))}


def _done(place: Path) -> int:
    with suppress(OSError, CheckpointMismatch):
        state, *_ = look(str(place / "demo.state"))
        return 0 if state is None else state.done.records
    return 0


def _judged(place: Path, total: int) -> int:
    """Count what is there: each file once, as a result or a dead letter."""
    measured = [json.loads(line)["path"] for line in (place / "out.jsonl").read_text("utf-8").splitlines()]
    state, *_ = look(str(place / "demo.state"))
    failed = 0 if state is None else state.totals["failed"]
    if len(measured) != len({*measured}) or len(measured) + failed != total:
        raise CommandFailed(f"{len(measured):,} results and {failed:,} failures of {total:,} files, in {place}")
    _say(f"\nEach of the {total:,} files once: {len(measured):,} measured, {failed:,} dead letters, in order.")
    _say(f"See {place}: out.jsonl, odd.dead (pipeframe dead list), demo.state (pipeframe state).")
    return DONE


def _say(text: str) -> None:
    click.echo(text, err=True)
