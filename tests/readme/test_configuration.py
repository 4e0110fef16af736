"""`docs/configuration.md` has every knob once, with the default that the code has."""

from __future__ import annotations

import ast
import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

import pipeframe_async
from pipeframe_async import Checkpoint, PipeFrame, PipelineEngine, Retry, run
from pipeframe_async.cli.program import commands

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text("utf-8")
PACKAGE = Path(pipeframe_async.__file__).parent

Knobs = dict[str, object]
REQUIRED = inspect.Parameter.empty


def rows(heading: str, *, table: int = 0) -> list[list[str]]:
    """The cells of a table below a heading, without those that head it."""
    below = re.split(r"\n#{2,3} ", PAGE.split(f" {heading}\n", 1)[1])[0]
    found = re.findall(r"(?:^\|.*\|\n?)+", below, re.MULTILINE)[table]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in found.strip().splitlines()[2:]]


def told(heading: str, *, table: int = 0) -> Knobs:
    """The knobs of a table and their defaults; none stands there twice."""
    cells = [(row[0].strip("`"), row[2]) for row in rows(heading, table=table)]
    assert [name for name, times in Counter(name for name, _ in cells).items() if times > 1] == []
    return {
        name: REQUIRED if default == "required" else default if default == "`(Exception,)`" else _value(default)
        for name, default in cells
    }


def _value(default: str) -> object:
    return ast.literal_eval(default.strip("`"))


def parameters(function: Callable[..., Any], but: tuple[str, ...] = ()) -> Knobs:
    return {
        name: parameter.default
        for name, parameter in inspect.signature(function).parameters.items()
        if name not in ("self", *but) and parameter.kind is not parameter.VAR_KEYWORD
    }


def test_the_attributes_of_a_pipeline_are_all_there() -> None:
    attributes = {name: getattr(PipelineEngine, name, 0) for name in PipelineEngine.__annotations__}
    assert told("On the pipeline's class") == attributes


def test_the_hooks_of_a_pipeline_are_all_there() -> None:
    told_in_the_class = re.findall(
        r"`(?:async )?(?:def )?(\w+)(?:\([^`]*\))?`",
        inspect.getdoc(PipelineEngine).split("found by name:")[1].split(". ")[0],  # type: ignore[union-attr]
    )
    assert [row[0].strip("`") for row in rows("On the pipeline's class", table=1)] == told_in_the_class


def test_what_a_retry_and_a_checkpoint_take_is_all_there() -> None:
    assert told("`Retry`") == {**parameters(Retry), "on": "`(Exception,)`"}
    assert parameters(Retry)["on"] == (Exception,)
    assert told("`Checkpoint`") == parameters(Checkpoint)


def test_the_arguments_of_a_frame_are_all_there() -> None:
    assert told("On the frame") == parameters(PipeFrame)


@pytest.mark.parametrize("runs", [run, PipeFrame.run, PipeFrame.stream])
def test_the_arguments_of_a_run_are_all_there(runs: Callable[..., Any]) -> None:
    assert told("For one run") == parameters(runs, but=("pipeline", *parameters(PipeFrame)))


def test_the_arguments_of_a_call_are_all_there() -> None:
    assert told("For one run", table=1) == parameters(PipeFrame.call, but=("pipeline", "record"))


def every_command(group: click.Group, before: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from every_command(command, f"{before}{name} ")
        else:
            yield before + name, command


def of_commands() -> dict[str, set[str]]:
    """By option, which commands have it."""
    found: dict[str, set[str]] = {}
    for name, command in every_command(commands):
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                found.setdefault(parameter.opts[-1], set()).add(name)
    return found


def test_the_options_of_the_command_line_are_all_there_with_their_commands() -> None:
    everywhere = {name for name, _ in every_command(commands)}
    dead = {name for name in everywhere if name.startswith("dead ")}
    named: dict[str, set[str]] = {}
    for options, of, _ in rows("On the command line"):
        for option in re.findall(r"`(--[\w-]+)`", options):
            assert option not in named, option
            where = set(re.findall(r"`([\w ]+)`", of))
            named[option] = everywhere if of == "all" else dead if of == "`dead …`" else where
    assert named == of_commands()


def test_the_variables_of_the_environment_are_all_there() -> None:
    """Those the package asks for by name."""
    asked = re.compile(r"""environ(?:ment)?(?:\.get\(|\[)"(\w+)"|envvar="(\w+)"|(OMP_NUM_THREADS)""")
    read = {
        first or second or third
        for path in PACKAGE.rglob("*.py")
        for first, second, third in asked.findall(path.read_text("utf-8"))
    }
    python_knows = {"PYTHONPATH", "TZ"}
    assert {row[0].strip("`") for row in rows("In the environment")} == read - python_knows
