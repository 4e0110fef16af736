"""Every example ends by itself and prints what it says it does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
POSIX = pytest.mark.skipif(os.name != "posix", reason="the original's example locks a file with fcntl")

SMALL = {"NUMBER": "20_000"}
"""The original's number takes seconds to raise to its own power; twenty times is for the soak."""

NOTEBOOK = """
import sys, nbclient, nbformat
from pathlib import Path

notebook = nbformat.v4.new_notebook()
source = Path(sys.argv[1]).read_text().replace("asyncio.run(", "await (")
notebook.cells = [nbformat.v4.new_code_cell(source)]
nbclient.NotebookClient(notebook, timeout=40, kernel_name="python3").execute()
for output in notebook.cells[0].outputs:
    print(output.get("text", output), end="")
"""


def run(
    place: Path, *arguments: str, stdin: Path | None = None, env: Mapping[str, str] = {}, timeout: float = 50
) -> str:
    """What Python prints. It goes to a file: a pipe would keep us waiting for a worker that should be gone."""
    output = place / "output.txt"
    with output.open("wb") as stream, open(stdin or os.devnull, "rb") as script:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=place,
            env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(place), **env},
            stdin=script,
            stdout=stream,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            check=False,
        )
    written = output.read_text("utf-8")
    assert done.returncode == 0, written
    return written


def check_original(written: str) -> None:
    """Two reports of ten records each, and as many lines in the log."""
    assert re.findall(r"^fed .*", written, re.MULTILINE) == ["fed 10 · delivered 10 · failed 0"] * 2
    assert re.findall(r"^(clear|power|log) +worker +10 ", written, re.MULTILINE) == ["clear", "power", "log"] * 2
    assert written.splitlines()[-1] == "20 lines were logged"


def test_every_example_is_run_here() -> None:
    elsewhere = {"web_app.py"}  # in tests/web
    elsewhere |= {"redis_to_postgres.py", "kafka_to_parquet.py", "log_filter.py"}  # in tests/real
    names = {path.name for path in EXAMPLES.glob("*.py")} - elsewhere
    assert names == {
        "original.py",
        "stdlib_metrics.py",
        "live_http.py",
        "tcp_socket.py",
        "aiostream_windows.py",
        "text_classification.py",
    }


@POSIX
def test_the_originals_example_runs_as_a_script(tmp_path: Path) -> None:
    check_original(run(tmp_path, str(EXAMPLES / "original.py"), env=SMALL))


@POSIX
def test_the_originals_example_runs_on_standard_input(tmp_path: Path) -> None:
    check_original(run(tmp_path, "-", stdin=EXAMPLES / "original.py", env=SMALL))


@POSIX
def test_the_originals_example_runs_with_dash_c(tmp_path: Path) -> None:
    check_original(run(tmp_path, "-c", (EXAMPLES / "original.py").read_text("utf-8"), env=SMALL))


@POSIX
def test_the_originals_example_runs_in_a_notebook(tmp_path: Path) -> None:
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    # What Jupyter keeps and finds of the user's own stays out of this.
    own = dict.fromkeys(("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR"), str(tmp_path))
    check_original(run(tmp_path, "-c", NOTEBOOK, str(EXAMPLES / "original.py"), env={**SMALL, **own}))


@POSIX
@pytest.mark.soak
@pytest.mark.timeout(300)
def test_the_originals_example_runs_with_its_own_number(tmp_path: Path) -> None:
    check_original(run(tmp_path, str(EXAMPLES / "original.py"), timeout=280))


def test_the_standard_librarys_metrics_are_ranked(tmp_path: Path) -> None:
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "one.py").write_text("def easy(): pass\ndef hard(x):\n    return 1 if x else 2\n")
    (tmp_path / "some" / "broken.py").write_text("def :\n")
    written = run(tmp_path, str(EXAMPLES / "stdlib_metrics.py"), str(tmp_path / "some"))
    assert re.search(r"2 +hard +one\.py:2\n +1 +easy +one\.py:1\n", written)
    assert "could not measure broken.py: invalid syntax" in written
    assert "fed 2 · delivered 1 · failed 1" in written


@pytest.mark.timeout(100)
def test_the_standard_librarys_metrics_are_those_of_the_standard_library(tmp_path: Path) -> None:
    written = run(tmp_path, str(EXAMPLES / "stdlib_metrics.py"), timeout=90)
    assert "Popen.__init__" in written
    assert "fed 200 · delivered 200 · failed 0" in written


def test_lines_are_classified_by_a_model_that_each_worker_has_loaded(tmp_path: Path) -> None:
    pytest.importorskip("py3langid")
    written = run(tmp_path, str(EXAMPLES / "text_classification.py"))
    assert "fed 8,000 · delivered 7,000 · filtered 1,000 · failed 0" in written
    assert re.findall(r"^([a-z]+) 1,000$", written, re.MULTILINE) == ["cs", "de", "en", "es", "fr", "ru", "zxx"]
    assert "\nit\n" in written


def test_a_live_http_stream_is_read_as_it_comes(tmp_path: Path) -> None:
    written = run(tmp_path, str(EXAMPLES / "live_http.py"))
    delays = [float(delay) for delay in re.findall(r"°C +([\d.]+) ms", written)]
    assert len(delays) == 40
    # Had it waited for the end of the response, half of them would be a second late.
    assert sorted(delays)[20] < 500
    assert "exhausted after" in written
    assert "fed 40 · delivered 40 · failed 0" in written


def test_a_tcp_socket_feeds_what_clients_push_and_ends_when_they_fall_silent(tmp_path: Path) -> None:
    written = run(tmp_path, str(EXAMPLES / "tcp_socket.py"))
    total = f"{sum(number**2 for number in range(2_000)):,}"
    assert re.findall(r"^client-\d  (.*)$", written, re.MULTILINE) == [total] * 5
    assert "the babbler was told: a line may have 1024 bytes: goodbye" in written
    assert "idle after" in written
    assert "fed 10,000 · delivered 10,000 · failed 0" in written


def test_two_live_sources_are_merged_by_aiostream_and_their_results_cut_into_windows(tmp_path: Path) -> None:
    pytest.importorskip("aiostream")
    written = run(tmp_path, str(EXAMPLES / "aiostream_windows.py"))
    windows = re.findall(r"^window (\d) after [\d.]+ s: (.*)$", written, re.MULTILINE)
    readings = [[int(count) for count in re.findall(r"(?:in|out)doors (\d+) ×", window)] for _, window in windows]
    assert [number for number, _ in windows] == list("12345")
    assert [sum(counts) for counts in readings] == [10, 10, 10, 10, 5]
    # One sensor after the other would give at most one window with both.
    assert sum(len(counts) == 2 for counts in readings) > 1
    assert "exhausted after" in written
    assert "fed 45 · delivered 45 · failed 0" in written
