"""Files of jobs that are killed and go on: byte for byte those of jobs that were not, whatever the moment was."""

from __future__ import annotations

import json
import os
import random
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeframe_async.errors import CheckpointMismatch, StateError
from pipeframe_async.sinks import Csv, JsonLines, Lines, owned, squeezing
from tests.edges.test_file_sinks import READ

SUFFIXES = [*READ]
RESULTS = [{"id": number, "text": "é\n" + "x" * (number * 7 % 40)} for number in range(60)]
FORMATS: dict[str, Callable[..., Any]] = {
    "jsonl": JsonLines,
    "csv": lambda path, **knobs: Csv(path, names=["text", "id"], **knobs),
    "csv_by_first": Csv,
}
BEFORE = {"csv": b"text,id\n", "csv_by_first": b"id,text\n"}
"""What is in a file before, which is appended to or replaced."""

kept = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)


@pytest.fixture(autouse=True)
def _members_are_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(squeezing, "MEMBER", 200)


def die(sink: Any) -> None:
    """What a kill leaves of it: an open file is closed, and nothing else is done."""
    sink._writer._file.close()
    sink._writer = None


def saved(position: Any) -> Any:
    """As a state file has it."""
    return json.loads(json.dumps(position))


def put(sink: Any, results: list[Any]) -> None:
    sink.write([sink.encode(result) for result in results])


def unbroken(make: Callable[[], Any], results: list[Any]) -> bytes:
    """The file of a job that nobody has disturbed, and with it all is as it was before."""
    sink = make()
    before = Path(sink.path).read_bytes() if os.path.exists(sink.path) else None
    sink.__enter__()
    sink.restore(None)
    put(sink, results)
    sink.__exit__(None, None, None)
    whole = Path(sink.path).read_bytes()
    os.unlink(sink.path)
    if before is not None:
        Path(sink.path).write_bytes(before)
    return whole


def leave(sink: Any, end: str) -> None:
    """The end of a process: by a kill while something is written, by an error, or in good order."""
    if end == "error":
        sink.__exit__(OSError, OSError("broken"), None)
    elif end == "order":
        sink.__exit__(None, None, None)
    else:
        with open(sink._writer._file._path, "ab") as torn:
            torn.write(b"torn\x1f\x8b"[: len(end) % 7])
        die(sink)


LIFE = st.tuples(
    st.lists(st.tuples(st.integers(0, 20), st.booleans()), max_size=6),  # so many results, and is it saved then?
    st.sampled_from(["killed", "killed in a write", "error", "order"]),
)


@kept
@given(lives=st.lists(LIFE, max_size=6))
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("append", [False, True])
@pytest.mark.parametrize("format", FORMATS)
def test_the_file_is_that_of_a_job_that_was_never_killed(
    format: str, append: bool, suffix: str, lives: list[Any], tmp_path: Path
) -> None:
    for old in tmp_path.iterdir():
        old.unlink()
    path = tmp_path / f"out{suffix}"
    before = BEFORE.get(format, b"before\n")
    path.write_bytes(squeezing.squeezed(KIND[suffix], before) if suffix else before)

    def make() -> Any:
        return FORMATS[format](path, append=append, fsync="never")

    whole = unbroken(make, RESULTS)
    done, position = 0, None
    for writes, end in lives:
        sink, at = make(), done
        sink.__enter__()
        sink.restore(position)
        for count, is_saved in writes:
            put(sink, RESULTS[at : at + count])
            at = min(at + count, len(RESULTS))
            if is_saved:
                done, position = at, saved(sink.position())
        if position is None and append:  # a job has a position before its first write, or would append twice
            leave(sink, "order")
            path.write_bytes(squeezing.squeezed(KIND[suffix], before) if suffix else before)
            continue
        leave(sink, end)
    sink = make()
    sink.__enter__()
    sink.restore(position)
    put(sink, RESULTS[done:])
    sink.__exit__(None, None, None)
    assert path.read_bytes() == whole
    assert os.listdir(tmp_path) == [path.name]
    text = READ[suffix](whole)
    assert (text.startswith(before), text.count(before)) == ((True, 1) if append or format in BEFORE else (False, 0))


KIND = {"": "", ".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "zstd"}


# Killed before each call that changes a file, and in the middle of each that writes.


def killed_at(moment: int, work: Callable[[], None]) -> bool:
    """Do work in a process that is killed at a moment; whether it was."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # pyarrow's threads, which it makes anew by itself
        child = os.fork()
    if not child:
        code = 1
        try:
            _arm(moment)
            work()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) in (0, 9)
    return os.waitstatus_to_exitcode(status) == 9


def _arm(moment: int) -> None:
    left = iter(range(moment, -1, -1))

    def passed(*_: Any) -> None:
        if next(left) == 0:
            os._exit(9)

    def before(function: Any) -> Any:
        def call(*values: Any) -> Any:
            passed()
            return function(*values)

        return call

    def in_the_middle(file: Any, data: bytes) -> None:
        passed()
        if data:
            append(file, data[: len(data) // 2])
            passed()
            file.cut(file.size - len(data) // 2)
            append(file, data)

    append = owned.Owned.append
    owned.Owned.append = in_the_middle  # type: ignore[method-assign, assignment]
    owned.Owned.cut = before(owned.Owned.cut)  # type: ignore[method-assign]
    owned._locked = before(owned._locked)
    for name in ("replace", "unlink", "fsync"):
        setattr(os, name, before(getattr(os, name)))


RENAME = os.rename


class Job:
    """One that keeps its state in a file, and may stop in good order after so many results."""

    def __init__(self, folder: Path, make: Callable[[], Any], results: list[Any] = RESULTS) -> None:
        self.state = folder / "state"
        self.make = make
        self.results = results

    def run(self, stop: int = len(RESULTS)) -> None:
        done, position = json.loads(self.state.read_text()) if self.state.exists() else (0, None)
        sink = self.make()
        sink.__enter__()
        sink.restore(position)
        self.save(done, sink.position())
        while done < stop:
            put(sink, self.results[done : done + 17])
            done += len(self.results[done : done + 17])
            self.save(done, sink.position())
        sink.__exit__(None, None, None)

    def save(self, done: int, position: Any) -> None:
        self.state.with_suffix(".new").write_text(json.dumps([done, position]))
        RENAME(self.state.with_suffix(".new"), self.state)


def moments(job: Job, path: Path, before: Callable[[], None], stop: int = len(RESULTS)) -> Iterator[int]:
    """Kill a job at each moment it has; then it may go on."""
    for moment in range(200):
        path.unlink(missing_ok=True)
        Path(f"{path}.part").unlink(missing_ok=True)
        Path(f"{path}.rows").unlink(missing_ok=True)
        job.state.unlink(missing_ok=True)
        before()
        was_killed = killed_at(moment, lambda: job.run(stop))
        yield moment
        if not was_killed:
            return
    raise AssertionError("it has no end")


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("append", [False, True])
def test_whatever_call_it_is_killed_at_it_goes_on(append: bool, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"out.csv{suffix}"

    def make() -> Any:
        return FORMATS["csv"](path, append=append)

    job, whole = Job(tmp_path, make), unbroken(make, RESULTS)
    counted = 0
    for counted in moments(job, path, lambda: None):
        if path.exists() and not append and not job.state.exists():
            raise AssertionError("it is in its place before it has begun")
        job.run()
        assert path.read_bytes() == whole, counted
    assert counted > 15


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_job_that_has_stopped_in_good_order_may_be_killed_as_it_goes_on(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"out.csv{suffix}"

    def make() -> Any:
        return FORMATS["csv"](path)

    job, whole = Job(tmp_path, make), unbroken(make, RESULTS)
    counted = 0
    for counted in moments(job, path, lambda: job.run(30)):
        job.run()
        assert path.read_bytes() == whole, counted
        assert not Path(f"{path}.part").exists()
    assert counted > 10


# What is kept, and what is refused.


def begun(path: Path, **knobs: Any) -> Any:
    sink = Lines(path, **knobs)
    sink.__enter__()
    sink.restore(None)
    return sink


def test_what_an_error_leaves_is_kept_once_it_can_be_gone_on_with(tmp_path: Path) -> None:
    sink = begun(tmp_path / "out")
    put(sink, ["one"])
    position = sink.position()
    leave(sink, "error")
    assert os.listdir(tmp_path) == ["out.part"]
    refused = Lines(tmp_path / "out")
    refused.__enter__()
    leave(refused, "error")  # before anybody could restore it: a feed was refused
    assert (tmp_path / "out.part").read_text() == "one\n"
    sink = Lines(tmp_path / "out")
    sink.__enter__()
    sink.restore(position)
    sink.__exit__(None, None, None)
    assert (tmp_path / "out").read_text() == "one\n"


def test_where_nobody_restores_it_the_part_of_one_that_was_killed_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "out.part").write_text("old\n")
    sink = Lines(tmp_path / "out")
    sink.__enter__()
    put(sink, ["new"])
    assert (tmp_path / "out.part").read_text() == "new\n"
    assert sink.position() is None
    leave(sink, "error")
    assert os.listdir(tmp_path) == []
    (tmp_path / "out.part").write_text("old\n")
    sink.__enter__()
    sink.__exit__(None, None, None)
    assert (tmp_path / "out").read_text() == ""


def test_what_was_there_before_the_job_stays_until_it_is_done(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("of long ago\n")
    sink = begun(tmp_path / "out")
    nothing = sink.position()
    put(sink, ["one"])
    position = sink.position()
    die(sink)
    (tmp_path / "out.part").unlink()
    sink = Lines(tmp_path / "out")
    sink.__enter__()
    with pytest.raises(CheckpointMismatch) as caught:
        sink.restore(position)
    assert str(caught.value) == (
        f"{tmp_path}/out: 12 bytes, and {tmp_path}/out.part: 0 bytes; neither begins with the 4 bytes that the job has "
        "written: put its file back, or begin anew"
    )
    leave(sink, "error")
    assert os.listdir(tmp_path) == ["out"]
    sink = Lines(tmp_path / "out")
    sink.__enter__()
    sink.restore(nothing)
    assert (tmp_path / "out").read_text() == "of long ago\n"
    sink.__exit__(None, None, None)
    assert (tmp_path / "out").read_text() == ""


def test_a_file_that_was_appended_to_and_has_become_shorter_is_refused_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "out"
    sink = begun(path, append=True)
    put(sink, ["one", "two"])
    position = sink.position()
    sink.__exit__(None, None, None)
    for other in ("one\ntw", "three\nfour\n"):
        path.write_text(other)
        sink = Lines(path, append=True)
        sink.__enter__()
        with pytest.raises(CheckpointMismatch, match=f"out has {len(other)} bytes, and does not begin with the 8 "):
            sink.restore(position)
        leave(sink, "error")
        assert path.read_text() == other


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: Lines(path, compression="gzip"), "was written by the job with compression=None, and not 'gzip'"),
        (lambda path: Csv(path, names=["b", "a"]), r"written by the job with names=.*'a', 'b'.*, and not"),
        (lambda path: Lines("-"), "- is no file, and the job has written one"),
    ],
)
def test_the_position_of_another_sink_is_refused(make: Any, says: str, tmp_path: Path) -> None:
    path = tmp_path / "out"
    sink = Csv(path, names=["a", "b"])
    sink.__enter__()
    sink.restore(None)
    position = sink.position()
    assert position is not None
    leave(sink, "error")
    other = make(path)
    if not isinstance(other, Csv):
        position.pop("names")
    other.__enter__()
    with pytest.raises(CheckpointMismatch, match=says):
        other.restore(position)
    leave(other, "error")
    assert (tmp_path / "out.part").read_text() == "a,b\n"
    other = Lines(path)
    other.__enter__()
    with pytest.raises(CheckpointMismatch, match=r"is no position in .*out: it is another sink's"):
        other.restore({"key": 1})
    leave(other, "error")


def test_to_a_pipe_there_is_no_way_back(tmp_path: Path) -> None:
    os.mkfifo(path := tmp_path / "pipe")
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    sink = Csv(path, names=["a"])
    sink.__enter__()
    assert os.read(reader, 100) == b"a\n"  # before anything comes
    sink.restore(None)
    put(sink, [{"a": 1}])
    assert sink.position() is None
    sink.__exit__(None, None, None)
    assert os.read(reader, 100) == b"1\n"
    os.close(reader)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_write_that_fails_is_in_no_position(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = begun(tmp_path / f"out{suffix}")
    put(sink, ["x" * 150])
    position = sink.position()

    def full(file: Any, data: bytes) -> None:
        raise OSError("no room")

    with monkeypatch.context() as patched:
        patched.setattr(owned.Owned, "append", full)
        for text in ("y", "y" * 100):
            with pytest.raises(OSError, match="no room"):
                put(sink, [text])
            assert sink.position() == position
    put(sink, ["z"])
    sink.__exit__(None, None, None)
    assert READ[suffix]((tmp_path / f"out{suffix}").read_bytes()) == b"x" * 150 + b"\nz\n"


def test_a_file_that_is_gone_on_with_is_locked_wherever_it_came_from(tmp_path: Path) -> None:
    sink = begun(tmp_path / "out")
    put(sink, ["one"])
    position = sink.position()
    sink.__exit__(None, None, None)
    sink = Lines(tmp_path / "out")
    sink.__enter__()
    sink.restore(position)
    with pytest.raises(StateError, match="out is being written by another"):
        Lines(tmp_path / "out").__enter__()
    sink.__exit__(None, None, None)
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize(("fsync", "wanted"), [("close", True), ("write", True), ("never", False)])
def test_a_position_survives_the_machine_unless_nobody_wants_that(
    fsync: str, wanted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    sink = begun(tmp_path / "out", fsync=fsync)
    put(sink, ["one"])
    monkeypatch.setattr(os, "fsync", synced.append)
    sink.position()
    assert bool(synced) is wanted
    monkeypatch.undo()
    leave(sink, "error")


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zst"])
def test_members_are_as_large_as_they_are_said_to_be(suffix: str, tmp_path: Path) -> None:
    sink = begun(tmp_path / f"out{suffix}")
    put(sink, ["x" * 99] * 5)
    sink.__exit__(None, None, None)
    member = squeezing.squeezed(KIND[suffix], (b"x" * 99 + b"\n") * 2)
    rest = squeezing.squeezed(KIND[suffix], b"x" * 99 + b"\n")
    assert (tmp_path / f"out{suffix}").read_bytes() == member + member + rest


@pytest.mark.parametrize(("suffix", "most"), [(".gz", 1.01), (".zst", 1.01), (".bz2", 1.1), (".xz", 1.1)])
def test_members_cost_little(suffix: str, most: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.undo()
    drawn = random.Random(1)
    words = ["".join(drawn.choices("abcdefghij", k=drawn.randint(3, 9))) for _ in range(2_000)]
    texts = [json.dumps({"id": n, "text": " ".join(drawn.choices(words, k=15))}) for n in range(20_000)]
    sizes = []
    for restored in (False, True):
        sink = Lines(tmp_path / f"out{suffix}", fsync="never")
        sink.__enter__()
        if restored:
            sink.restore(None)
        put(sink, texts)
        sink.__exit__(None, None, None)
        sizes.append((tmp_path / f"out{suffix}").stat().st_size)
    assert 0.9 < sizes[1] / sizes[0] < most
