"""Where a frame is used: every host works, or is refused in one clear sentence before anything has started."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pipeframe_async import ConfigError, Failure, PipeFrame
from pipeframe_async.executors import hosts
from pipeframe_async.testing import leaks
from tests.process import pipelines as p
from tests.process.host_programs.started import linux, module, posix, program

pytestmark = [pytest.mark.process, posix]

PROGRAMS = Path(__file__).parent / "host_programs"


def written_by(place: Path, *arguments: str, seconds: float = 30.0, wrapped: tuple[str, ...] = ()) -> list[str]:
    """The lines a program writes; it must end well and leave nobody."""
    with program(place, *arguments, wrapped=wrapped) as running:
        code = running.ends(within=seconds)
        assert code == 0, running.written
        running.leaves_nobody()
        return running.written.splitlines()


# --- guardless scripts, standard input, -c, notebooks --------------------------------------------------------------

GUARDLESS = ["the main module is run", "taken: True", "dead: [(13, 'crashed', 'crash')]"]


@linux
def test_a_guardless_script_works_with_a_crash_in_the_middle(tmp_path: Path) -> None:
    assert written_by(tmp_path, str(PROGRAMS / "guardless.txt")) == GUARDLESS


@linux
def test_so_does_dash_c(tmp_path: Path) -> None:
    assert written_by(tmp_path, "-c", (PROGRAMS / "guardless.txt").read_text("utf-8")) == GUARDLESS


@linux
def test_so_does_standard_input(tmp_path: Path) -> None:
    shell = ("sh", "-c", f'exec "$@" - < {PROGRAMS / "guardless.txt"}', "sh")
    assert written_by(tmp_path, wrapped=shell) == GUARDLESS


@linux
def test_so_does_a_notebook(tmp_path: Path) -> None:
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    own = dict.fromkeys(("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR"), str(tmp_path))
    with program(tmp_path, *module("notebook"), str(PROGRAMS / "guardless.txt"), env=own) as running:
        assert running.ends(within=50) == 0, running.written
        assert [line for line in running.written.splitlines() if line in GUARDLESS] == GUARDLESS
        running.leaves_nobody()


# --- loops, threads, frames ----------------------------------------------------------------------------------------


def exits_at_thirteen(record: int) -> tuple[int, bool]:
    if record == 13:
        os._exit(7)
    return record, True


class Deadly(p.Collected):
    """Record 13 ends its worker."""

    steps = (exits_at_thirteen,)

    async def dead_letter(self, failures: list[Failure[int]]) -> None:
        self.dead += failures

    def check(self) -> None:
        assert self.taken == [i for i in range(self.n) if i != 13]
        assert [(failure.record, failure.kind) for failure in self.dead] == [(13, "crashed")]


def test_one_frame_serves_asyncio_run_twice_with_a_crash_in_each() -> None:
    frame = PipeFrame(2)
    for _ in range(2):
        pipeline = Deadly(60)
        asyncio.run(frame.run(pipeline))
        pipeline.check()


def test_one_frame_is_warm_in_two_loops_one_after_the_other() -> None:
    frame = PipeFrame(2)

    async def warm() -> None:
        async with frame:
            for _ in range(2):
                pipeline = Deadly(60)
                await frame.run(pipeline)
                pipeline.check()

    asyncio.run(warm())
    asyncio.run(warm())


async def test_two_frames_at_once_do_not_notice_each_others_crashes() -> None:
    pipelines = [Deadly(60), Deadly(80), p.Collected(300)]
    reports = await asyncio.gather(*(PipeFrame(1).run(pipeline) for pipeline in pipelines))
    for pipeline in pipelines[:2]:
        assert isinstance(pipeline, Deadly)
        pipeline.check()
    assert reports[2].worker_restarts == 0
    assert pipelines[2].taken == [(i + 1) * 2 for i in range(300)]


async def test_a_thread_with_a_loop_of_its_own_works_beside_ours() -> None:
    theirs, ours = Deadly(60), Deadly(80)
    thread = threading.Thread(target=lambda: asyncio.run(PipeFrame(1).run(theirs)))
    thread.start()
    await PipeFrame(1).run(ours)
    await asyncio.to_thread(thread.join)
    ours.check()
    theirs.check()


# --- forks ---------------------------------------------------------------------------------------------------------


@linux
@pytest.mark.parametrize("how", ["os_fork", "multiprocessing_fork"])
def test_a_fork_may_not_use_the_frame_that_its_parent_started_but_one_of_its_own(tmp_path: Path, how: str) -> None:
    before, refused, new, child, after = written_by(tmp_path, *module("forks"), how)
    assert refused.startswith("refused: the frame was started in process ")
    assert refused.endswith("make a new PipeFrame here, or enter it after the fork")
    assert (before, new, child, after) == ("before: 100", "new frame: 50", "child: 0", "after: 200 restarts: 0")


@linux
@pytest.mark.parametrize("how", ["os_fork_that_does_nothing", "os_fork_that_leaves_the_frame"])
def test_a_forks_exit_does_not_disturb_its_parents_workers(tmp_path: Path, how: str) -> None:
    assert written_by(tmp_path, *module("forks"), how) == ["before: 100", "child: 0", "after: 200 restarts: 0"]


@linux
def test_a_fork_that_lives_on_keeps_no_worker_alive(tmp_path: Path) -> None:
    with program(tmp_path, *module("forks"), "child_that_stays") as running:
        child = int(running.wait_for_file("child"))
        running.wait_until(lambda: any("forkserver" in process.command for process in running.family()))
        running.process.kill()
        running.ends(within=5)
        # multiprocessing's own tracker serves the child as well.
        staying = [process.pid for process in running.family() if "resource_tracker" in process.command]
        running.leaves_nobody(within=1.0, but=(child, *staying))
        assert child in [process.pid for process in running.family()]


# --- daemonic parents ----------------------------------------------------------------------------------------------


@linux
@pytest.mark.parametrize("end", ["returns", "unclosed"])
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_a_daemonic_process_may_have_workers(tmp_path: Path, method: str, end: str) -> None:
    assert written_by(tmp_path, *module("daemonic"), method, end) == [
        "delivered: 4 in workers: {'daemon=False child=0'}",
        "exit code: 0",
    ]


@linux
def test_workers_of_a_daemonic_process_end_when_it_is_terminated(tmp_path: Path) -> None:
    # Then the tracker of multiprocessing says that it has put away the semaphores of a pool that was not closed.
    first, *_ = written_by(tmp_path, *module("daemonic"), "spawn", "terminated")
    assert first == "delivered: 4 in workers: {'daemon=False child=0'}"


# --- no semaphores -------------------------------------------------------------------------------------------------


def may_unmount() -> bool:
    """Whether this host lets us take /dev/shm away from a program."""
    try:
        tried = subprocess.run(["unshare", "-m", "umount", "/dev/shm"], capture_output=True, check=False)
    except OSError:
        return False
    return tried.returncode == 0


@linux
@pytest.mark.skipif(not sys.platform.startswith("linux") or not may_unmount(), reason="/dev/shm cannot be unmounted")
def test_without_dev_shm_processes_are_refused_before_anything_starts_and_threads_work(tmp_path: Path) -> None:
    wrapped = ("unshare", "-m", "sh", "-c", 'umount /dev/shm && mount -t tmpfs -o ro none /dev/shm && exec "$@"', "sh")
    refused, children, threads = written_by(tmp_path, *module("no_semaphores"), wrapped=wrapped)
    assert refused.startswith('refused: executor="processes", the default, cannot work on this host')
    assert refused.endswith('use executor="threads"')
    assert (children, threads) == ("children: []", "threads: 100")


@pytest.mark.parametrize("error", [OSError(38, "Function not implemented"), PermissionError(13, "Permission denied")])
async def test_a_system_without_semaphores_is_refused(error: OSError, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise error

    monkeypatch.setattr("_multiprocessing.SemLock", refuse)
    with pytest.raises(ConfigError, match=r'need a writable /dev/shm \(.*\); use executor="threads"'):
        await PipeFrame(1).run(p.Numbers)
    with pytest.raises(ConfigError):
        async with PipeFrame(1):
            pass
    assert (await PipeFrame(1, executor="inline").run(p.Numbers)).delivered == 100


def test_a_python_built_without_semaphores_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "multiprocessing.synchronize", None)
    with pytest.raises(ConfigError, match=r"ImportError|ModuleNotFoundError"):
        hosts.check_semaphores()


def test_asking_for_semaphores_leaves_none() -> None:
    before = set(os.listdir("/dev/shm")) if Path("/dev/shm").is_dir() else set()
    hosts.check_semaphores()
    after = set(os.listdir("/dev/shm")) if Path("/dev/shm").is_dir() else set()
    assert not {name for name in after - before if leaks.made_here(name)}
