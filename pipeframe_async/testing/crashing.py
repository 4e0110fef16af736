"""`crash_and_resume`: a job with a checkpoint, killed again and again, and what is wrong where it does not go on well.

Each life is a process of its own, in a process group that is killed with SIGKILL; what it did is known from a file that
it writes (`life.py`), and from the state that it left. The verdicts are functions of those. It blocks.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from inspect import getfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Unpack

from pipeframe_async._rules import knobs
from pipeframe_async.checkpoint import JobState
from pipeframe_async.compression import kind_of, reader
from pipeframe_async.errors import CheckpointMismatch, ConfigError
from pipeframe_async.pipeline_engine import PipelineEngine
from pipeframe_async.state_file import look
from pipeframe_async.testing import procfs
from pipeframe_async.testing.life import Target
from pipeframe_async.testing.trying import FrameOptions

TAG: Final = "PIPEFRAME_TEST_LIFE"
POLL: Final = 0.002
"""Seconds between two looks whether a life has begun. Longer shifts all kills behind the first moments of a run."""
PAUSE: Final = 0.02
"""Seconds between two looks at all processes, which costs some milliseconds."""
START: Final = 60.0
"""Seconds a life has to import its module and begin. Less fails on a busy machine, more waits for what hangs."""
GONE: Final = 10.0
"""Seconds that the workers of a program that was killed have to go. They need far less where nothing is wrong."""
STATE_ENDINGS: Final = ("", "-wal", "-shm", "-journal")
SHOWN: Final = 2_000
"""Characters that are shown of what a life has said last."""

Compare = Callable[[Path, Path], object]


@dataclass(frozen=True, slots=True)
class Life:
    """One life of a job.

    Attributes:
        killed: it was, and did not come to its end.
        seconds: from the begin of its run.
        fed, skipped: records, as far as is known of a life that was killed: up to 20 ms before.
        saved: records that are done in the state it has left.
    """

    killed: bool
    seconds: float
    fed: int
    skipped: int
    saved: int


@dataclass(frozen=True, slots=True)
class Crashes:
    """What a job came to that was killed again and again.

    Attributes:
        lives: each of its lives; the last one came to its end.
        report: of the last life, a `RunReport` as a dict.
        totals: what became of the records in all lives, by name.
        seconds: that all of it took.
    """

    lives: tuple[Life, ...]
    report: Mapping[str, Any]
    totals: Mapping[str, int]
    seconds: float

    @property
    def kills(self) -> int:
        """How often it was killed; fewer times than wanted where it came to its end before."""
        return sum(life.killed for life in self.lives)


def crash_and_resume(
    job: type[PipelineEngine[Any, Any]] | str | os.PathLike[str],
    kills: int = 20,
    *,
    every_life: tuple[float, float] = (0.05, 1.0),
    seed: int = 0,
    directory: str | os.PathLike[str] | None = None,
    outputs: Sequence[str | os.PathLike[str]] | None = None,
    compare: Compare | None = None,
    patience: float = 300.0,
    executor: str = "processes",
    **options: Unpack[FrameOptions],
) -> Crashes:
    """Kill a job at random moments, run it again, and see that it comes to what it comes to when it is not killed.

    The whole process group of the job gets SIGKILL; its workers end by themselves, as they do in production. After so
    many kills it is run to its end. With outputs it is first run once undisturbed: those files are then put aside, and
    what both have come to is compared.

    Args:
        job: a `PipelineEngine` subclass with a `checkpoint`, made without arguments, in a module that can be imported:
            your test module can be, a class inside a function cannot. Or the path of a script, `"job.py"` or
            `"job.py:Job"`, which must not run it when it is imported.
        kills: how often it is killed, ≥ 1, if it does not come to its end before.
        every_life: seconds between which a life is killed, drawn evenly, from when its run begins. Let them be longer
            than `Checkpoint.every`, and a fraction of what the job takes: a life that is killed before it has saved
            anything has done nothing.
        seed: of those moments. The machine is not to be seeded, so runs with one seed are alike and not the same.
        directory: where the job runs, and what relative paths are relative to: pytest's `tmp_path`. What comes to be in
            it when the job runs undisturbed is removed again. Default: where the test runs, and there only the files
            that are known are removed.
        outputs: files that the job writes, which are compared. Default: the `path` of its sink where that has one, as
            the file sinks do. None of them, nor the state, nor the dead letters may be there.
        compare: called for each of them with the path of the undisturbed run's file and that of the other one; raises,
            or returns False, where they differ. Default: byte for byte in feed order, else as lines in any order.
        patience: seconds that one life may last.
        executor: where the steps run; `"inline"` is quicker, and has no workers to be left behind.
        options: what else `PipeFrame` takes.

    Returns:
        Its lives, its last report, and what became of its records in all of them.

    Raises:
        ConfigError: the job cannot be run so; nothing was killed.
        AssertionError: a life failed by itself, or lasted too long; a life had less done than one before it, or did not
            pass over what was done; the books do not balance over all lives; it left processes behind; or it came to
            something else than the undisturbed run.

    Process: each life is one of its own, and so are its workers; this one waits, and blocks the event loop it is called
    on. Needs process groups: not on Windows.
    """
    if sys.platform == "win32":
        raise ConfigError("crash_and_resume kills process groups, and this system has none")
    knobs.positive_int("kills", kills)
    least, most = _moments(every_life)
    place = Path.cwd() if directory is None else Path(directory).resolve()
    started, moments = time.monotonic(), random.Random(seed)
    with TemporaryDirectory(prefix="pipeframe-crashes-") as folder:
        lives = _Lives(_target(job), place, Path(folder), {"executor": executor, **options}, patience)
        told = lives.about()
        state = Path(told["state"])
        files = _outputs(told, outputs, place)
        _not_there([state, *files, *([Path(told["dead_letter"])] if told["dead_letter"] else [])])
        undisturbed = _undisturbed(lives, told, files, None if directory is None else place) if files else None
        done, report = _to_its_end(lives, state, kills, lambda: moments.uniform(least, most))
        if (final := _state(state)) is None:
            raise AssertionError(f"the last life came to its end, and there is no {state}")
        check_books(done, report, final)
        if undisturbed is not None:
            check_totals(undisturbed.totals, final.totals)
            for aside, file in zip(undisturbed.files, files, strict=True):
                _check_output(aside, file, compare or (same_bytes if told["order"] == "input" else same_lines))
    return Crashes(tuple(done), report, dict(final.totals), time.monotonic() - started)


def _moments(every_life: tuple[float, float]) -> tuple[float, float]:
    least, most = every_life
    if not 0 <= least <= most < float("inf"):
        raise ConfigError(f"every_life={every_life!r}: must be two numbers of seconds, the smaller one first")
    return least, most


def _target(job: object) -> Target:
    if isinstance(job, type) and issubclass(job, PipelineEngine):
        if "<locals>" in job.__qualname__ or job.__module__ == "__main__":
            raise ConfigError(
                f"{job.__qualname__} is of {job.__module__} and no module can be imported that has it: put it at the "
                "top of one, or pass the path of its script"
            )
        return Target(job.__module__, getfile(job), job.__qualname__)
    if not isinstance(job, (str, os.PathLike)):
        raise ConfigError(f"{job!r} is no job: pass a subclass of PipelineEngine, or the path of a script")
    file, _, name = os.fspath(job).partition(":")
    if not os.path.isfile(file):
        raise ConfigError(f"there is no script {file!r}")
    return Target(Path(file).stem, os.path.abspath(file), name)


def _outputs(told: Mapping[str, Any], outputs: Sequence[str | os.PathLike[str]] | None, place: Path) -> list[Path]:
    if outputs is not None:
        return [place / path for path in outputs]
    return [] if told["sink"] is None else [Path(told["sink"])]


def _not_there(files: Sequence[Path]) -> None:
    for file in files:
        if file.exists():
            raise ConfigError(f"{file} is there already: remove it, for a job is tried from its begin")


# The lives.


@dataclass(frozen=True, slots=True)
class _Lives:
    """Begins lives of one job, and ends them."""

    target: Target
    place: Path
    folder: Path
    options: dict[str, Any]
    patience: float

    def about(self) -> dict[str, Any]:
        """What the job is; asked in a process of its own, so that nothing of it is left in this one."""
        with self._begun(only_about=True) as life:
            life.process.wait(START)
            if (told := life.told("about")) is None:
                raise ConfigError(f"the job cannot be run: {life.last_words()}")
        found: dict[str, Any] = told["about"]
        return found

    def life(self, moment: float | None) -> tuple[bool, float, Mapping[str, Any], Mapping[str, Any] | None]:
        """Let it live, to its end or until it is killed at that moment: whether it was, seconds, books, report.

        Raises:
            AssertionError: it failed by itself, lasted too long, or left processes behind.
        """
        with self._begun() as life:
            life.await_begin()
            began, killed = time.monotonic(), False
            try:
                life.process.wait(self.patience if moment is None else moment)
            except subprocess.TimeoutExpired:
                life.kill()
                killed = True
                _must(moment is not None, f"a life was not over after {self.patience:g} s: {life.last_words()}")
            seconds = time.monotonic() - began
            left = life.left()
            _must(not left, f"a life that {'was killed' if killed else 'ended'} left behind: {', '.join(left)}")
            report = life.told("report")
            _must(killed or report is not None, f"a life failed by itself: {life.last_words()}")
            return killed, seconds, life.told("fed") or {}, None if report is None else report["report"]

    @contextmanager
    def _begun(self, *, only_about: bool = False) -> Iterator[_Running]:
        told, said, mark = self.folder / "told", self.folder / "said", f"{TAG}={uuid.uuid4().hex}"
        told.write_bytes(b"")
        spec = {
            "target": asdict(self.target),
            "options": self.options,
            "told": str(told),
            "only_about": only_about,
        }
        paths = [os.path.abspath(path) for path in (os.path.dirname(self.target.file), *sys.path)]
        name, _, value = mark.partition("=")
        with (
            said.open("wb") as output,
            subprocess.Popen(
                [sys.executable, "-m", "pipeframe_async.testing.life", json.dumps(spec)],
                cwd=self.place,
                env={**os.environ, name: value, "PYTHONPATH": os.pathsep.join(paths)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            ) as process,
        ):
            running = _Running(process, told, said, mark)
            try:
                yield running
            finally:
                running.kill()
                running.kill_rest()


@dataclass(frozen=True, slots=True)
class _Running:
    """A life under way.

    `told_in` is the file it tells in, `said_in` has what it printed, and `mark` is in the environment of its processes.
    """

    process: subprocess.Popen[bytes]
    told_in: Path
    said_in: Path
    mark: str

    def told(self, name: str) -> dict[str, Any] | None:
        """The last it told that has this; a line that was not finished does not count."""
        found = None
        for line in self.told_in.read_bytes().split(b"\n")[:-1]:
            if name in (values := json.loads(line)):
                found = values
        return found

    def last_words(self) -> str:
        """The end of what it printed."""
        return self.said_in.read_text("utf-8", errors="replace").strip()[-SHOWN:] or "it said nothing"

    def await_begin(self) -> None:
        """Wait for its run to begin."""
        deadline = time.monotonic() + START
        while self.told("begun") is None and self.process.poll() is None:
            _must(time.monotonic() < deadline, f"a life had not begun after {START:g} s: {self.last_words()}")
            time.sleep(POLL)

    def kill(self) -> None:
        """End its whole process group, at once."""
        if sys.platform != "win32" and self.process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def left(self) -> list[str]:
        """Its processes that do not go by themselves."""
        deadline = time.monotonic() + GONE
        while (left := self._rest()) and time.monotonic() < deadline:
            time.sleep(PAUSE)
        return [str(process) for process in left]

    def kill_rest(self) -> None:
        """End those."""
        if sys.platform == "win32":
            return
        for process in self._rest():
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)

    def _rest(self) -> list[procfs.Process]:
        if not procfs.AVAILABLE:
            return []
        return [process for process in procfs.processes().values() if process.has_in_environment(self.mark)]


def _to_its_end(
    lives: _Lives, state: Path, kills: int, moment: Callable[[], float]
) -> tuple[list[Life], Mapping[str, Any]]:
    done: list[Life] = []
    while True:
        saved_before = done[-1].saved if done else 0
        killed, seconds, books, report = lives.life(moment() if len(done) < kills else None)
        found = _state(state)
        saved = 0 if found is None else found.done.records
        _must(
            saved >= saved_before,
            f"life {len(done) + 1} left a state with {saved:,} records done, the one before it {saved_before:,}",
        )
        books = report or books
        done.append(Life(killed, seconds, books.get("fed", 0), books.get("skipped", 0), saved))
        if not killed:
            assert report is not None
            return done, report


def _state(path: Path) -> JobState | None:
    """What is in the state file; a copy is looked at, for who looks may tidy up."""
    with TemporaryDirectory(prefix="pipeframe-state-") as folder:
        copy = Path(folder) / "state"
        for ending in STATE_ENDINGS:
            with suppress(FileNotFoundError):
                shutil.copyfile(f"{path}{ending}", f"{copy}{ending}")
        try:
            return look(str(copy))[0]
        except FileNotFoundError:
            return None
        except CheckpointMismatch as error:
            raise AssertionError(f"a life left a state that cannot be read: {error}") from error


# The run that is not killed.


@dataclass(frozen=True, slots=True)
class _Undisturbed:
    files: list[Path]
    totals: Mapping[str, int]


def _undisturbed(lives: _Lives, told: Mapping[str, Any], files: list[Path], own: Path | None) -> _Undisturbed:
    """Run it once, put its outputs aside, and take away what else it has made."""
    before = _all_files(own)
    lives.life(None)
    state = _state(Path(told["state"]))
    if state is None:
        raise AssertionError("the undisturbed run left no state")
    aside = [lives.folder / f"output-{number}-{file.name}" for number, file in enumerate(files)]
    for file, kept in zip(files, aside, strict=True):
        _must(file.is_file(), f"the undisturbed run has not written {file}")
        shutil.move(file, kept)
    for path in filter(None, (told["state"], told["dead_letter"])):
        for ending in (*STATE_ENDINGS, ".lock"):
            Path(f"{path}{ending}").unlink(missing_ok=True)
    for file in _all_files(own) - before:
        file.unlink(missing_ok=True)
    return _Undisturbed(aside, state.totals)


def _all_files(folder: Path | None) -> set[Path]:
    return set() if folder is None else {path for path in folder.rglob("*") if not path.is_dir()}


# The verdicts.


def _must(holds: bool, reason: str) -> None:
    if not holds:
        raise AssertionError(reason)


def check_books(lives: Sequence[Life], report: Mapping[str, Any], state: JobState) -> None:
    """That the books of a job balance over all its lives.

    Raises:
        AssertionError: they do not; it says which.
    """
    saved = max((life.saved for life in lives[:-1]), default=0)
    _must(
        report["skipped"] >= saved,
        f"the last life passed over {report['skipped']:,} records, and {saved:,} had been saved as done",
    )
    _must(state.finished, "the last life came to its end, and its state does not say that the job is done")
    _must(
        state.done.records == report["fed"],
        f"the state has {state.done.records:,} records done, and {report['fed']:,} were fed",
    )
    became = {name: state.totals.get(name, 0) for name in ("delivered", "filtered", "failed")}
    total = report["fed"] + state.totals.get("emitted", 0)
    _must(
        sum(became.values()) == total,
        f"the books do not balance over all lives: {total:,} records, and {became} became of them",
    )


def check_totals(undisturbed: Mapping[str, int], crashed: Mapping[str, int]) -> None:
    """That as many were delivered, filtered and failed.

    Raises:
        AssertionError: they were not.
    """
    _must(
        undisturbed == crashed,
        f"in all lives {dict(crashed)} became of the records, and undisturbed {dict(undisturbed)}",
    )


def _check_output(aside: Path, file: Path, compare: Compare) -> None:
    _must(file.is_file(), f"the job that was killed has not written {file}")
    _must(compare(aside, file) is not False, f"{file} is not what the undisturbed run wrote")


def same_bytes(expected: Path, found: Path) -> None:
    """That two files are the same.

    Raises:
        AssertionError: they are not; it says where they differ first.
    """
    one, other = expected.read_bytes(), found.read_bytes()
    if one != other:
        at = next((at for at, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), -1)
        at = min(len(one), len(other)) if at < 0 else at
        raise AssertionError(
            f"{found} differs from what the undisturbed run wrote: it has {len(other):,} bytes and that {len(one):,}, "
            f"and from byte {at:,} on they are not the same: {other[at : at + 40]!r} and {one[at : at + 40]!r}"
        )


def _lines(path: Path) -> list[bytes]:
    kind = kind_of(str(path), "infer")
    with path.open("rb") as file:
        return (file if kind is None else reader(kind, file)).read().splitlines()


def same_lines(expected: Path, found: Path) -> None:
    """That two files, compressed or not, have the same lines, each as often, in any order.

    Raises:
        AssertionError: they have not; it shows one.
    """
    one, other = (Counter(_lines(path)) for path in (expected, found))
    if one != other:
        missing, extra = one - other, other - one
        raise AssertionError(
            f"{found} has not the lines that the undisturbed run wrote: {missing.total():,} are missing, "
            f"{extra.total():,} are too many, for instance {next(iter(missing or extra))!r}"
        )
