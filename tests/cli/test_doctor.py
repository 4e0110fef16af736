"""`pipeframe doctor`: what it finds of this machine and this installation, and what it says to install."""

from __future__ import annotations

import json
import os
import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError

import pytest

from pipeframe_async import __version__
from pipeframe_async.cli import doctor
from pipeframe_async.cli.doctor import NOT_FOR_USERS, extras_of, numbers
from pipeframe_async.errors import ConfigError
from tests.cli.conftest import ROOT, Pipeframe

THERE = {"click": "8.1.7", "rich": "12.0.1", "redis": "5.2"}


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is installed but what is `THERE`."""
    monkeypatch.setattr(doctor, "version_of", THERE.get)


def test_it_says_what_there_is_and_ends_well(pipeframe: Pipeframe) -> None:
    ending = pipeframe("doctor")
    assert (ending.code, ending.err) == (0, "")
    assert f"CPython {'.'.join(map(str, sys.version_info[:3]))}" in ending.out
    for label in ("pipeframe_async", "system", "loop of run()", "workers start by", "cores", "extra cli"):
        assert f"  {label}  " in ending.out
    assert "extra test" not in ending.out


def test_no_line_is_wider_than_the_terminal(pipeframe: Pipeframe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert max(map(len, pipeframe("doctor").out.splitlines())) <= 80


def test_a_line_of_json_has_all_of_it(pipeframe: Pipeframe) -> None:
    ending = pipeframe("doctor", "--json")
    found = json.loads(ending.out)
    assert ending.code == 0
    assert ending.out.count("\n") == 1
    assert found["cores"]["workers"] >= 1
    assert found["python"]["executable"] == sys.executable
    assert found["extras"]["cli"]["lacking"] == []


def test_it_knows_every_extra_that_is_for_users() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    requirements = [f"{it}; extra == '{extra}'" for extra, needed in extras.items() for it in needed if ";" not in it]
    assert set(extras_of([*requirements, "x>=1; extra == 'files'"], (3, 11))) == set(extras) - NOT_FOR_USERS


@pytest.mark.usefixtures("installed")
def test_an_extra_that_is_not_installed_has_the_command_that_brings_it() -> None:
    assert extras_of(["distributed>=2024.8; extra == 'dask'"], (3, 11)) == {
        "dask": {
            "installed": {},
            "lacking": ["distributed>=2024.8"],
            "command": 'pip install "pipeframe_async[dask]"',
        }
    }


@pytest.mark.usefixtures("installed")
def test_what_is_too_old_is_lacking() -> None:
    found = extras_of(["click>=8.1 ; extra == 'cli'", "rich>=13.7 ; extra == 'cli'"], (3, 11))["cli"]
    assert found["installed"] == {"click": "8.1.7", "rich": "12.0.1"}
    assert found["lacking"] == ["rich>=13.7"]


@pytest.mark.usefixtures("installed")
def test_extras_of_a_requirement_are_no_part_of_its_name() -> None:
    assert extras_of(["redis[hiredis]>=5.2; extra == 'redis'"], (3, 11))["redis"]["installed"] == {"redis": "5.2"}


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(("python", "lacking"), [((3, 13), ["zst>=1"]), ((3, 14), []), ((3, 15), [])])
def test_what_python_has_by_now_is_not_asked_for(python: tuple[int, int], lacking: list[str]) -> None:
    found = extras_of(["zst>=1; (python_version < '3.14') and extra == 'files'"], python)
    assert found["files"]["lacking"] == lacking


@pytest.mark.usefixtures("installed")
def test_what_everybody_needs_and_what_is_for_the_package_itself_is_no_extra() -> None:
    assert extras_of(["cloudpickle>=3.0", "pytest>=9; extra == 'test'"], (3, 11)) == {}


@pytest.mark.parametrize(
    ("version", "release"), [("3.2rc1", (3, 2)), ("2026.8.0+local", (2026, 8, 0)), ("8", (8,)), ("unknown", ())]
)
def test_versions_are_compared_by_their_release(version: str, release: tuple[int, ...]) -> None:
    assert numbers(version) == release


def test_files_that_were_never_installed_have_no_extras_and_a_version(
    pipeframe: Pipeframe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(name: str) -> list[str]:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(doctor, "requires", gone)
    ending = pipeframe("doctor", "--json")
    found = json.loads(ending.out)
    assert (ending.code, found["version"], found["extras"]) == (0, __version__, {})


def test_what_is_lacking_is_said(pipeframe: Pipeframe, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> None:
        raise ConfigError("no semaphores here")

    monkeypatch.delattr(os, "memfd_create", raising=False)
    monkeypatch.setattr(doctor, "check_semaphores", refused)
    monkeypatch.setattr(doctor, "version_of", {"click": "8.0", "cloudpickle": "3.1"}.get)
    monkeypatch.setattr(doctor, "granted_cores", lambda: 1)
    said = pipeframe("doctor").out
    lines = [(line[2:21].strip(), line[21:].strip()) for line in said.splitlines()]
    rows = dict(lines)
    assert rows["loop of run()"] == "asyncio's own; uvloop is not installed"
    assert rows["memory of batches"] == "sent through sockets: there is no memfd here"
    assert rows["processes"] == "no semaphores here"
    assert "its cgroup grants 1" in rows["cores"]
    assert re.fullmatch(r"needs click>=[\d.]+, rich>=[\d.]+; there is click 8\.0", rows["extra cli"])
    assert ("", 'pip install "pipeframe_async[dask]"') in lines
