"""The page as text: live, or frozen as the report of runs that are over. It fetches nothing from elsewhere."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any


def page(frozen: dict[str, Any] | None = None) -> str:
    """The page.

    Args:
        frozen: what it shows for good; None: what its server says.
    """
    from importlib.resources import files  # slow to load, and of no use to most

    text = files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    data = json.dumps(frozen).replace("<", "\\u003c")  # which would end the script it stands in
    return text.replace('"FROZEN"', data, 1)


def write_report(path: Path, told: dict[str, Any]) -> None:
    """Write the frozen page; whoever reads meanwhile has the one before or this one.

    Raises:
        OSError: it cannot be written.
    """
    beside = path.with_name(f".{path.name}.part")
    try:
        beside.write_text(page(told), encoding="utf-8")
        beside.replace(path)
    except OSError:
        with suppress(OSError):
            beside.unlink()  # a part of it, on a disk that is full
        raise
