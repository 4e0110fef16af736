"""The progress bar of a notebook: where it is shown, and what it shows."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeframe_async.frame import PipeFrame
from pipeframe_async.observe.notebook import NotebookBar, Shown, in_notebook
from pipeframe_async.observe.progress import Lines, progress_display
from pipeframe_async.pipeline_engine import PipelineEngine
from pipeframe_async.stats import Stats
from pipeframe_async.steps import apply

ROOT = Path(__file__).parents[2]
HALF = Stats(fed=500, delivered=500, total=1000, failed=0, elapsed=2.0)


class Cell:
    """What a kernel shows below a cell."""

    def __init__(self) -> None:
        self.shown: list[Shown] = []
        self.gone: Exception | None = None

    def display(self, value: Shown, *, display_id: bool) -> Cell:
        assert display_id
        self.shown.append(value)
        return self

    def update(self, value: Shown) -> None:
        if self.gone is not None:
            raise self.gone
        self.shown.append(value)


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> Cell:
    cell = Cell()
    display = SimpleNamespace(display=cell.display)
    ipython = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=object()), display=display)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    return cell


@pytest.mark.parametrize(
    ("ipython", "is_one"),
    [
        (None, False),
        (SimpleNamespace(get_ipython=lambda: None), False),
        (SimpleNamespace(get_ipython=lambda: SimpleNamespace()), False),
        (SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=object())), True),
    ],
    ids=["not loaded", "loaded by a script", "in a terminal", "kernel"],
)
def test_only_the_kernel_of_a_notebook_is_one(ipython: Any, is_one: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    if ipython is not None:
        monkeypatch.setitem(sys.modules, "IPython", ipython)
    assert in_notebook() is is_one


@pytest.mark.parametrize("mode", [True, "auto"])
def test_a_notebook_gets_a_bar(mode: bool | str, cell: Cell) -> None:
    assert isinstance(progress_display(mode, lambda: HALF, stream=io.StringIO()), NotebookBar)


def test_lines_can_be_had_there_too(cell: Cell) -> None:
    assert isinstance(progress_display("plain", lambda: HALF, stream=io.StringIO()), Lines)


def test_the_bar_is_how_much_of_the_feed_is_done_with_the_time_that_is_left(cell: Cell) -> None:
    now = [HALF]
    bar = NotebookBar(lambda: now[0])
    bar.start()
    now[0] = replace(HALF, fed=750, delivered=750, elapsed=3.0)
    bar.update()
    now[0] = replace(HALF, fed=1000, delivered=1000, elapsed=4.0)
    bar.finish()
    assert [repr(shown) for shown in cell.shown] == [
        "500 of 1,000 records · 2 s left · 250/s · 0 failed · 2.0 s",
        "750 of 1,000 records · 1 s left · 250/s · 0 failed · 3.0 s",
        "1,000 of 1,000 records · 250/s · 0 failed · 4.0 s",
    ]
    assert cell.shown[1]._repr_html_() == (
        '<div><progress max="1000" value="750" style="width: 20em; max-width: 100%"></progress> '
        "750 of 1,000 records · 1 s left · 250/s · 0 failed · 3.0 s</div>"
    )


def test_a_bar_before_the_first_record_is_one() -> None:
    assert 'max="1" value="0"' in Shown(Stats(), 0.0)._repr_html_()


class ZMQError(Exception):
    """Of pyzmq, as it is there: no OSError."""


@pytest.mark.parametrize("error", [OSError("gone"), ZMQError("Socket operation on non-socket")])
def test_a_page_that_has_gone_is_not_missed(cell: Cell, error: Exception) -> None:
    bar = NotebookBar(lambda: HALF)
    bar.start()
    cell.gone = error
    bar.update()
    bar.finish()
    assert len(cell.shown) == 1


async def test_a_run_in_a_notebook_shows_its_bar_to_the_end(cell: Cell) -> None:
    class Numbers(PipelineEngine):
        feed = range(20)
        steps = (apply(abs),)

    await PipeFrame(executor="inline", progress=True).run(Numbers)
    assert repr(cell.shown[-1]).startswith("20 of 20 records · ")


KERNEL = """
import json, nbclient, nbformat
source = '''
from pipeframe_async import PipeFrame, apply, pipeline
await PipeFrame(executor="inline", progress=True).run(pipeline(apply(abs)), range(20))
'''
notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
nbclient.NotebookClient(notebook, timeout=60).execute()
print(json.dumps(["".join(one["data"]["text/html"]) for one in notebook.cells[0].outputs]))
"""


@pytest.mark.process
@pytest.mark.timeout(100)
def test_a_real_kernel_shows_bar_and_report(tmp_path: Path) -> None:
    for module in ("nbclient", "nbformat", "ipykernel"):
        pytest.importorskip(module)
    own = ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **dict.fromkeys(own, str(tmp_path))}
    command = [sys.executable, "-W", "ignore", "-c", KERNEL]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90, check=False)
    assert ended.returncode == 0, ended.stderr
    bar, report = json.loads(ended.stdout)
    assert bar.startswith('<div><progress max="20" value="20"')
    assert report.startswith("<p><b>exhausted</b>")
    assert "<td>abs</td>" in report
