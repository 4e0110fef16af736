"""A worker finds what its parent has when it starts, and no odd surroundings of the parent keep it from starting."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.process.host_programs.started import linux, posix, program

pytestmark = [pytest.mark.process, posix]

RUN = """
import asyncio, os, resource, signal, sys, time
from pipeframe_async import PipeFrame, PipelineEngine, PipeFrameError, apply, run
class P(PipelineEngine):
    steps, feed = [apply(abs)], range(10)
def look(_):
    import os, resource
    return eval(LOOK), True
class Looks(PipelineEngine):
    steps, feed = [look], [1]
    def sink(self, values):
        print(values[0], flush=True)
"""


def lines(place: Path, code: str, *, wrapped: tuple[str, ...] = (), env: dict[str, str] | None = None) -> list[str]:
    """What a program writes that ends well and leaves nobody."""
    with program(place, "-c", RUN + code, wrapped=wrapped, env=env or {}) as running:
        code_of = running.ends(within=30)
        assert code_of == 0, running.written
        running.leaves_nobody()
        return running.written.splitlines()


@linux
@pytest.mark.parametrize(
    ("look", "change"),
    [
        ("os.environ.get('WORD')", "os.environ['WORD'] = 'b'"),
        ("os.getcwd()", "os.mkdir('there'); os.chdir('there')"),
        ("__import__('sys').getrecursionlimit()", "sys.setrecursionlimit(7_000)"),
        ("oct(os.umask(0o027))", "os.umask(0o027)"),
        ("resource.getrlimit(resource.RLIMIT_CORE)[0]", "resource.setrlimit(resource.RLIMIT_CORE, (0, 0))"),
        ("resource.getrlimit(resource.RLIMIT_NOFILE)[0]", "resource.setrlimit(resource.RLIMIT_NOFILE, (200, 900))"),
        ("os.getpriority(os.PRIO_PROCESS, 0)", "os.nice(2)"),
        ("sorted(os.sched_getaffinity(0))", "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})"),
        ("__import__('sys').path[-1]", "sys.path.append('/last')"),
        ("os.environ.get('WORD')", "os.environ.pop('WORD')"),
    ],
)
def test_what_the_program_has_changed_between_two_runs_is_so_in_the_workers_of_the_second(
    look: str, change: str, tmp_path: Path
) -> None:
    code = f"LOOK = {look!r}\nrun(Looks, cpu_count=1)\n{change}\nrun(Looks, cpu_count=1)\nprint(eval(LOOK))\n"
    first, second, ours = lines(tmp_path, code, env={"WORD": "a"})
    assert second == ours
    assert first != second or look.endswith("RLIMIT_CORE)[0]")


@linux
def test_steps_print_where_the_program_prints_now(tmp_path: Path) -> None:
    code = """
def say(n):
    print("said", n)
    return n, True
class Says(PipelineEngine):
    steps, feed = [say], [1]
run(Says, cpu_count=1)
os.dup2(os.open("elsewhere", os.O_CREAT | os.O_WRONLY), 1)
run(Says, [2], cpu_count=1)
"""
    assert lines(tmp_path, code) == ["said 1"]
    assert (tmp_path / "elsewhere").read_text() == "said 2\n"


@linux
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_are_no_reason_to_die(loop: str, closed: str, tmp_path: Path) -> None:
    how = "asyncio.run(PipeFrame(cpu_count=1).run(P))" if loop == "asyncio" else "run(P, cpu_count=1)"
    shell = ("sh", "-c", f'exec "$@" {closed}', "sh")
    lines(tmp_path, f"open('delivered', 'w').write(str({how}.delivered))", wrapped=shell)
    assert (tmp_path / "delivered").read_text() == "10"


BLOCKED = (
    "import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, {which}); os.execv(sys.argv[1], sys.argv[1:])"
)


@linux
@pytest.mark.parametrize("which", ["{signal.SIGCHLD}", "signal.valid_signals() - {signal.SIGINT}"])
def test_signals_that_a_launcher_has_blocked_do_not_hang_the_end(which: str, tmp_path: Path) -> None:
    launcher = (sys.executable, "-c", BLOCKED.format(which=which))
    assert lines(tmp_path, "print(run(P, cpu_count=1).delivered)", wrapped=launcher) == ["10"]


@linux
def test_a_sigpipe_at_its_default_ends_nobody_when_workers_die(tmp_path: Path) -> None:
    code = """
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
def deadly(n):
    if n % 50 == 7:
        os._exit(1)
    return n, True
class Deadly(PipelineEngine):
    steps, feed, source, batch_size, max_failures = [deadly], range(200), "stream", 1, None
report = run(Deadly, cpu_count=2)
print(report.delivered, report.failed)
"""
    assert lines(tmp_path, code) == ["196 4"]


@linux
@pytest.mark.parametrize("directory", ["x" * 120, "not there"])
def test_no_temporary_directory_is_needed(directory: str, tmp_path: Path) -> None:
    if "x" in directory:
        (tmp_path / directory).mkdir()
    env = {"TMPDIR": str(tmp_path / directory)}
    code = "import tempfile; tempfile.tempdir = os.environ['TMPDIR']\nprint(run(P, cpu_count=1).delivered)"
    assert lines(tmp_path, code, env=env) == ["10"]


@linux
@pytest.mark.parametrize("how", ["del os.memfd_create", "os.memfd_create = lambda *a: open('/dev/none/')"])
def test_no_memfd_is_needed(how: str, tmp_path: Path) -> None:
    assert lines(tmp_path, f"{how}\nprint(run(P, cpu_count=1).delivered)") == ["10"]


@linux
def test_a_working_directory_that_is_gone_keeps_nobody_from_starting(tmp_path: Path) -> None:
    code = "os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')\nprint(run(P, cpu_count=1).delivered)"
    assert lines(tmp_path, code) == ["10"]


PLANTED = ("selectors", "signal", "struct", "socket", "tempfile")


@linux
def test_nothing_of_the_working_directory_is_run(tmp_path: Path) -> None:
    for name in PLANTED:
        (tmp_path / f"{name}.py").write_text("import os; os.open('ran', os.O_CREAT); raise SystemExit\n")
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "main.py").write_text(RUN + "print(run(P, cpu_count=1).delivered)")
    with program(tmp_path, "app/main.py") as running:
        assert running.ends(within=30) == 0, running.written
        assert running.written == "10\n"
        running.leaves_nobody()
    assert not (tmp_path / "ran").exists()


FROZEN = """
import os, sys
open("runs", "a").write("x")
if os.path.getsize("runs") > 4:
    os._exit(1)  # only so that a test ends that fails
sys.frozen, sys.executable = True, os.environ["EXE"]
import multiprocessing
"""


@linux
@pytest.mark.parametrize("ready", [False, True])
def test_a_frozen_program_starts_itself_only_where_it_can_be_a_worker(ready: bool, tmp_path: Path) -> None:
    app, exe = tmp_path / "app.py", tmp_path / "exe"
    serve = "if '-c' in sys.argv: exec(sys.argv[sys.argv.index('-c') + 1]); sys.exit()\n"  # what freezers put there
    call = f"multiprocessing.freeze_support()\n{serve}" if ready else ""
    end = "try:\n    print(run(P, cpu_count=1).delivered)\nexcept PipeFrameError as error:\n    print(error)\n"
    app.write_text(FROZEN + call + RUN + end)
    exe.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(str(app))} "$@"\n')
    exe.chmod(0o700)
    with program(tmp_path, str(app), env={"EXE": str(exe)}) as running:
        assert running.ends(within=30) == 0, running.written
        if ready:
            assert running.written == "10\n"
        else:
            assert "frozen program without multiprocessing.freeze_support()" in running.written
            assert (tmp_path / "runs").read_text() == "x"


def nobody_may_run_python() -> bool:
    try:
        return subprocess.run([sys.executable, "-c", ""], user=65534, check=False).returncode == 0
    except OSError:  # it is not ours to become somebody else, or Python is somewhere private
        return False


@linux
@pytest.mark.skipif(not nobody_may_run_python(), reason="needs root, and a Python for everybody")
def test_who_has_given_up_being_root_has_no_workers_that_are(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    code = "LOOK = 'os.geteuid()'\nrun(Looks, cpu_count=1)\nos.setgid(65534); os.setuid(65534)\nrun(Looks, cpu_count=1)"
    assert lines(tmp_path, code) == ["0", "65534"]
