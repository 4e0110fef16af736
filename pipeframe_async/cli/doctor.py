"""`pipeframe doctor`: what this installation and this machine have, and the pip command for what is lacking.

Looks, and starts nothing. What it finds are plain values, which `--json` gives as they are; the table is made of those.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import re
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any, Final

import click

from pipeframe_async.cli.exits import DONE, explained
from pipeframe_async.cli.rows import print_rows
from pipeframe_async.errors import ConfigError
from pipeframe_async.executors.cores import default_workers, granted_cores, pinned_cores
from pipeframe_async.executors.hosts import check_semaphores
from pipeframe_async.executors.processes.launch import DEFAULT_METHOD
from pipeframe_async.gil import gil_enabled
from pipeframe_async.unnamed import has_memfd

NAME: Final = "pipeframe_async"
VERSION: Final[str] = sys.modules[NAME].__version__  # of the door, which rooms do not import; metadata may not be there
NOT_FOR_USERS: Final = frozenset({"bench", "dev", "docs", "test"})
"""Extras for those who work on the package itself."""
REQUIREMENT: Final = re.compile(r"(?P<name>[\w.-]+)(?:\[[^]]*])?(?P<bound>[^;]*)(?:;(?P<when>.*))?")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="All of it, as a line of JSON.")
@explained
def doctor(*, as_json: bool) -> int:
    """Say what this installation and this machine have, and how to get what they lack.

    Nothing is started. Exit code 0, whatever is found.
    """
    found = examined()
    if as_json:
        click.echo(json.dumps(found))
    else:
        print_rows(_rows(found))
    return DONE


def examined() -> dict[str, Any]:
    """What there is, as values that JSON knows."""
    return {
        "version": VERSION,
        "path": str(Path(__file__).parents[1]),
        "python": {
            "version": platform.python_version(),
            "implementation": platform.python_implementation(),
            "executable": sys.executable,
            "gil": gil_enabled(),
        },
        "platform": platform.platform(),
        "cloudpickle": version_of("cloudpickle"),
        "uvloop": version_of("uvloop"),
        "start_method": DEFAULT_METHOD,
        "multiprocessing_start_method": multiprocessing.get_context().get_start_method(),
        "cores": {
            "machine": os.cpu_count(),
            "pinned": pinned_cores(),
            "granted": granted_cores(),
            "workers": default_workers(),
        },
        "memfd": has_memfd(),
        "no_processes": _no_processes(),
        "extras": extras_of(_requirements(), sys.version_info[:2]),
    }


def _requirements() -> list[str]:
    """Of the package, by its metadata; none where it is run from files that were never installed."""
    try:
        return requires(NAME) or []
    except PackageNotFoundError:
        return []


def extras_of(requirements: Iterable[str], python: tuple[int, ...]) -> dict[str, dict[str, Any]]:
    """Each extra of a package: what is installed of it, what is lacking, and the command that brings that.

    Args:
        requirements: as the metadata of the package have them, `click>=8.1; extra == 'cli'`.
        python: the version of Python to look at them for.
    """
    extras: dict[str, dict[str, Any]] = {}
    for given in requirements:
        if (parts := REQUIREMENT.match(given)) is None or (extra := _marked("extra ==", parts["when"])) is None:
            continue
        if extra in NOT_FOR_USERS:
            continue
        about = extras.setdefault(extra, {"installed": {}, "lacking": [], "command": None})
        before = _marked("python_version <", parts["when"])
        if before is not None and python >= numbers(before):
            continue  # Python has it
        name, bound = parts["name"], parts["bound"].strip()
        there = version_of(name)
        if there is not None:
            about["installed"][name] = there
        if there is None or numbers(there) < numbers(bound.removeprefix(">=")):
            about["lacking"].append(f"{name}{bound}")
            about["command"] = f'pip install "{NAME}[{extra}]"'
    return dict(sorted(extras.items()))


def numbers(text: str) -> tuple[int, ...]:
    """The release of a version, to be compared: (3, 2) of `3.2rc1`."""
    release = re.match(r"\d+(?:\.\d+)*", text)
    return tuple(map(int, release[0].split("."))) if release else ()


def version_of(name: str) -> str | None:
    """Of a distribution, where it is installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _marked(key: str, marker: str | None) -> str | None:
    found = re.search(rf"{key} *['\"]([^'\"]+)['\"]", marker or "")
    return found and found[1]


def _no_processes() -> str | None:
    try:
        check_semaphores()
    except ConfigError as error:
        return str(error)
    return None


def _rows(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    python, method, default = found["python"], found["start_method"], found["multiprocessing_start_method"]
    yield NAME, found["version"]
    yield "", found["path"]
    yield "Python", f"{python['implementation']} {python['version']}, {'with a' if python['gil'] else 'without a'} GIL"
    yield "", python["executable"]
    yield "system", found["platform"]
    yield "cloudpickle", found["cloudpickle"] or 'not installed: pip install "cloudpickle>=3.0"'
    yield "loop of run()", f"uvloop {found['uvloop']}" if found["uvloop"] else "asyncio's own; uvloop is not installed"
    yield "workers start by", f"{method}, one of their own (multiprocessing itself: {default})"
    yield "cores", _cores(found["cores"])
    yield "memory of batches", "shared, by memfd" if found["memfd"] else "sent through sockets: there is no memfd here"
    if found["no_processes"]:
        yield "processes", found["no_processes"]
    for name, about in found["extras"].items():
        yield f"extra {name}", _extra(about)


def _cores(cores: dict[str, int | None]) -> str:
    pinned, granted, workers = cores["pinned"], cores["granted"], cores["workers"]
    grant = "no cgroup limits it" if granted is None else f"its cgroup grants {granted}"
    return f"{cores['machine']} in this machine, {pinned} for this process, {grant}; workers by default: {workers}"


def _extra(about: dict[str, Any]) -> str:
    there = ", ".join(f"{name} {version}" for name, version in about["installed"].items())
    if not about["lacking"]:
        return there or "needs nothing on this Python"
    lacking = f"needs {', '.join(about['lacking'])}" + (f"; there is {there}" if there else "")
    return f"{lacking}\n{about['command']}"  # which stays in one piece, to be copied
