"""The program as a whole: how it is started, and what it says when it cannot."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.cli.conftest import Pipeframe, in_its_own_process

WITHOUT = """
import sys
sys.modules[{name!r}] = None
from pipeframe_async.__main__ import main
main()
"""


@pytest.mark.parametrize("name", ["click", "rich"])
def test_without_its_extra_it_says_what_to_install(name: str, tmp_path: Path) -> None:
    ending = in_its_own_process(tmp_path, python=("-c", WITHOUT.format(name=name)))
    assert ending.code == 2
    assert ending.err == f'The command line needs {name}: pip install "pipeframe_async[cli]"\n'


def test_any_other_missing_module_is_not_blamed_on_the_extra(tmp_path: Path) -> None:
    ending = in_its_own_process(tmp_path, python=("-c", WITHOUT.format(name="pipeframe_async.cli.run")))
    assert ending.code == 1
    assert "pip install" not in ending.err


def test_the_version_is_that_of_the_package(pipeframe: Pipeframe) -> None:
    assert version("pipeframe_async") in pipeframe("--version").out


def test_help_names_the_commands_and_the_exit_codes(pipeframe: Pipeframe) -> None:
    ending = pipeframe("--help")
    assert ending.code == 0
    assert re.findall(r"^  (check|demo|run) ", ending.out, re.MULTILINE) == ["check", "demo", "run"]
    assert "130 interrupted" in ending.out


@pytest.mark.parametrize("command", ["run", "check", "demo"])
def test_every_command_has_help(command: str, pipeframe: Pipeframe) -> None:
    ending = pipeframe(command, "-h")
    assert ending.code == 0
    assert "--executor KIND" in ending.out
    assert "--traceback" in ending.out


@pytest.mark.parametrize("arguments", [[], ["no-such-command"], ["run"]])
def test_what_is_no_command_is_a_usage_error(arguments: list[str], pipeframe: Pipeframe) -> None:
    ending = pipeframe(*arguments)
    assert ending.code == 2
    assert "Usage: " in ending.err


def test_the_script_and_the_module_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = shutil.which("pipeframe", path=str(Path(sys.executable).parent))
    if script is None:
        pytest.skip("the package is not installed here")
    monkeypatch.setenv("COLUMNS", "120")
    shown = subprocess.run([script, "run", "--help"], capture_output=True, text=True, timeout=30, check=True).stdout
    module = in_its_own_process(tmp_path, "run", "--help").out
    assert shown.splitlines()[1:] == module.splitlines()[1:]  # the first line has the program's name


def test_a_console_that_cannot_say_everything_is_no_reason_to_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "iso8859-5")
    ending = in_its_own_process(tmp_path, "demo", "--limit", "1", "--executor", "inline")
    assert ending.code == 0, ending.err
    assert r"fed 1 \xb7 delivered 1" in ending.out
