"""What a process finds around it: taken in one, adopted in another, which is a program of its own here."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from pipeframe_async._worker import surroundings
from pipeframe_async._worker.surroundings import INNER_THREADS, Surroundings, limited

posix = pytest.mark.skipif(os.name != "posix", reason="limits, masks and niceness are POSIX's")
linux = pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")

ADOPT = "import sys, pickle, os, resource, time; pickle.loads(bytes.fromhex(sys.argv[1])).adopt(); "


def after_adopting(these: Surroundings, tell: str, before: str = "", **variables: str) -> str:
    """What a program prints that has adopted them."""
    run = subprocess.run(
        [sys.executable, "-c", before + ADOPT + f"print({tell})", pickle.dumps(these).hex()],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        env={**os.environ, **variables},
    )
    return run.stdout.strip()


def test_variables_are_the_parents_also_those_that_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SET_SINCE", "yes")
    tell = "os.environ.get('SET_SINCE'), os.environ.get('GONE_SINCE'), os.getenv('HOME') is not None"
    assert after_adopting(Surroundings.here(), tell, GONE_SINCE="no") == "yes None True"


@posix
def test_a_time_zone_counts_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC-5")
    assert after_adopting(Surroundings.here(), "time.timezone", TZ="UTC") == "-18000"


def test_the_directory_is_the_parents_and_one_that_is_gone_is_left_out(tmp_path: Path) -> None:
    here = Surroundings.here()
    assert after_adopting(here._replace(directory=str(tmp_path)), "os.getcwd()") == str(tmp_path)
    assert after_adopting(here._replace(directory=str(tmp_path / "gone")), "os.getcwd()") == os.getcwd()


def test_a_directory_that_cannot_be_named_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone() -> str:
        raise FileNotFoundError

    monkeypatch.setattr(os, "getcwd", gone)
    assert Surroundings.here().directory is None


@linux
def test_the_umask_is_read_without_a_change_of_it() -> None:
    old = os.umask(0o027)
    try:
        here = Surroundings.here()
        assert here.umask == 0o027
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(old)
    assert after_adopting(here, "oct(os.umask(0))") == "0o27"


@posix
def test_limits_are_the_parents_as_far_as_they_go() -> None:
    import resource

    here, files = Surroundings.here(), resource.RLIMIT_NOFILE
    tell = f"resource.getrlimit({int(files)})"
    lower = here._replace(limits={**here.limits, files: (100, 200)})
    assert after_adopting(lower, tell) == "(100, 200)"
    if os.geteuid() != 0:
        before = f"import resource; resource.setrlimit({int(files)}, (50, 150)); "
        assert after_adopting(lower, tell, before) == "(100, 150)"


@posix
def test_niceness_and_cores_are_the_parents() -> None:
    here = Surroundings.here()
    nicer = here._replace(niceness=min(19, (here.niceness or 0) + 3))
    assert after_adopting(nicer, "os.getpriority(os.PRIO_PROCESS, 0)") == str(nicer.niceness)
    if here.affinity is not None:
        one = here._replace(affinity=frozenset([min(here.affinity)]))
        assert after_adopting(one, "sorted(os.sched_getaffinity(0))") == str(sorted(one.affinity or ()))


def test_inner_threads_are_limited_where_the_user_has_not_said() -> None:
    assert limited({}, 3) == dict.fromkeys(INNER_THREADS, "3")
    assert limited({"MKL_NUM_THREADS": "8"}, 3) == {n: "3" for n in INNER_THREADS if n != "MKL_NUM_THREADS"}
    assert limited({"OMP_NUM_THREADS": "8"}, 3) == {}  # OPENBLAS_NUM_THREADS would win over it
    assert limited({}, None) == {}


@posix
@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2), (1, 2)])
def test_closed_standard_streams_are_the_null_device(closed: tuple[int, ...], tmp_path: Path) -> None:
    program = (
        "import os, sys; from pipeframe_async._worker.surroundings import open_standard_streams; "
        f"[os.close(fd) for fd in {closed}]; open_standard_streams(); "
        f"open({str(tmp_path / 'said')!r}, 'w').write(repr([os.readlink(f'/proc/self/fd/{{fd}}') for fd in {closed}]))"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30, stdin=subprocess.DEVNULL)
    assert (tmp_path / "said").read_text() == repr([os.devnull] * len(closed))


def test_those_that_are_open_stay_as_they_are() -> None:
    before = [os.fstat(fd) for fd in range(3)]
    surroundings.open_standard_streams()
    assert [os.path.samestat(a, os.fstat(fd)) for fd, a in enumerate(before)] == [True] * 3


def test_the_directory_a_program_was_started_in_has_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["", "/somewhere"])
    start, somewhere = surroundings.search_path()
    assert os.path.isabs(start)
    assert somewhere == "/somewhere"
