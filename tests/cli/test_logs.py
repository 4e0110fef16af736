"""What `pipeframe run` shows of what steps log: in workers, once, as text or as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import in_its_own_process

LOGS = """

import logging

def says(record):
    logging.getLogger("shop.prices").info("looking at %d", record)
    if record == 2:
        logging.getLogger("shop.prices").warning("an odd one", extra={"odd": record})
    return record, True

class Logs(PipelineEngine):
    feed = range(4)
    steps = (says,)
"""

pytestmark = pytest.mark.process


def run(app_dir: Path, *options: str, own: str = "") -> list[str]:
    with (app_dir / "app.py").open("a") as module:
        module.write(LOGS + own)
    ending = in_its_own_process(
        app_dir, "run", "app:Logs", "--app-dir", ".", "--progress", "none", "--cpu-count", "1", *options
    )
    assert ending.code == 0, ending.err
    return ending.err.splitlines()


def test_warnings_of_steps_are_shown_by_default(app_dir: Path) -> None:
    assert run(app_dir) == ["Warning: shop.prices: an odd one"]


def test_with_a_lower_level_more_of_them_are(app_dir: Path) -> None:
    said = run(app_dir, "--log-level", "info")
    assert [line for line in said if "shop" in line] == [
        *(f"Info: shop.prices: looking at {record}" for record in (0, 1, 2)),
        "Warning: shop.prices: an odd one",
        "Info: shop.prices: looking at 3",
    ]


def test_as_json_each_is_an_object_with_its_place(app_dir: Path) -> None:
    (line,) = map(json.loads, run(app_dir, "--log-format", "json"))
    assert {name: line[name] for name in line if name.startswith("pipeframe")} == {
        "pipeframe_pipeline": "Logs",
        "pipeframe_step": "says",
        "pipeframe_position": 2,
        "pipeframe_worker": "lane 0",
    }
    assert (line["level"], line["logger"], line["message"], line["extra"]) == (
        "WARNING",
        "shop.prices",
        "an odd one",
        {"odd": 2},
    )


def test_a_module_that_sets_up_logging_itself_shows_each_line_once(app_dir: Path) -> None:
    own = "\nlogging.basicConfig(level=logging.INFO, format='mine: %(pipeframe_position)s %(message)s')\n"
    assert run(app_dir, own=own) == [
        *(f"mine: {record} looking at {record}" for record in (0, 1, 2)),
        "mine: 2 an odd one",
        "mine: 3 looking at 3",
    ]
