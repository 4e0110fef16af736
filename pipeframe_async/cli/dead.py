"""`pipeframe dead …`: what is in a file of dead letters, and what becomes of it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.text import Text

from pipeframe_async.cli.exits import DONE, FAILED, INTERRUPTED, CommandFailed, explained, printable
from pipeframe_async.cli.logs import LOG_FORMAT, LOG_LEVEL, show_logs
from pipeframe_async.cli.options import PROGRESS, FrameOptions, frame_options, target_options
from pipeframe_async.cli.reporting import reported
from pipeframe_async.cli.settings import apply_settings
from pipeframe_async.cli.target import add_app_dir, load_pipeline
from pipeframe_async.sinks import DeadLetters, sink_to
from pipeframe_async.sinks.letters import Group, Letter

UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}

SHOWN: Final = 10
"""Entries of `show`, where nobody says how many."""

AT_ONCE: Final = 1_000
"""Entries that `export` reads at once. Fewer cost queries, more hold memory."""


@click.group()
def dead() -> None:
    """Look at a file of dead letters, replay what is in it, or drop it."""


def _since(context: click.Context, option: click.Parameter, value: str | None) -> float | None:
    if value is None:
        return None
    if ago := re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", value):
        return time.time() - float(ago[1]) * UNITS[ago[2]]
    try:
        return datetime.fromisoformat(value).timestamp()
    except ValueError as error:
        raise click.BadParameter("must be a time, 2026-11-29T10:00, or how long ago, 90s, 30m, 2h, 1d") from error


def file_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the file: `letters`."""
    return click.argument("letters", metavar="PATH", type=click.Path(dir_okay=False, path_type=Path))(command)


def which_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command what tells entries apart; it gets it as `which`, arguments of `DeadLetters`."""
    names = {
        "pipeline": "Of this pipeline.",
        "step": "Failed in this step.",
        "kind": "Failed so: raised, timeout, crashed, unpicklable, poison.",
        "error_type": "With this type of error, ValueError for instance.",
    }
    number = click.option("--id", "ids", type=int, multiple=True, metavar="N", help="This one. May be given again.")
    since = click.option(
        "--since", callback=_since, metavar="TIME", help="Failed last at this time or later: 2026-11-29T10:00, or 2h."
    )
    command = number(since(command))
    for name, text in names.items():
        command = click.option(f"--{name.replace('_', '-')}", name, metavar="NAME", help=text)(command)
    return command


def _which(given: dict[str, Any]) -> dict[str, Any]:
    """What tells entries apart, of all options of a command."""
    names = ("pipeline", "step", "kind", "error_type", "since")
    return {**{name: given.pop(name) for name in names}, "ids": tuple(given.pop("ids")) or None}


def _opened(path: Path) -> DeadLetters:
    if not path.exists():
        raise CommandFailed(f"there is no {path}: nothing has failed into it yet, or it is elsewhere")
    return DeadLetters(path)


@dead.command("list")
@file_option
@which_options
@click.option("--json", "as_json", is_flag=True, help="A line of JSON for each group.")
@explained
def listed(letters: Path, *, as_json: bool, **given: Any) -> int:
    """Count what is in PATH, by pipeline, step, kind and type, with the newest of each."""
    groups = _asked(lambda: _opened(letters).groups(**_which(given)))
    if as_json:
        for group in groups:
            click.echo(json.dumps({**_named(group), "newest": group.newest.as_dict()}))
        return DONE
    total = sum(group.count for group in groups)
    click.echo(printable(f"{letters}: {total:,} dead letter{'' if total == 1 else 's'}"))
    if groups:
        _show(groups)
    return DONE


def _named(group: Group) -> dict[str, Any]:
    names = ("pipeline", "step", "kind", "error_type", "count", "last")
    return {name: getattr(group, name) for name in names}


def _show(groups: list[Group]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    width = len(f"{groups[0].count:,}")
    for group in groups:
        console.print(
            Text.assemble(
                (f"{group.count:>{width},}", "bold"),
                printable(f"  {group.pipeline} · {group.step} · {group.kind} {group.error_type}"),
                (f" · last {_time(group.last)}\n", "dim"),
                printable(f"{' ' * width}  {_line(group.newest)}"),
            )
        )
    if traceback := groups[0].newest.traceback:
        console.print(Text(f"\nThe newest of the first kind, number {groups[0].newest.id}:\n\n{printable(traceback)}"))
    if logged := _logged(groups[0].newest):
        console.print(Text(f"\n{printable(logged)}"))


def _logged(letter: Letter) -> str:
    return f"Logged last:\n{letter.log}\n" if letter.log else ""


def _line(letter: Letter) -> str:
    return letter.message.split("\n", 1)[0]


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().isoformat(" ", "seconds")[:19]


@dead.command()
@file_option
@which_options
@click.option("--most", type=click.IntRange(min=1), default=SHOWN, show_default=True, metavar="N")
@explained
def show(letters: Path, *, most: int, **given: Any) -> int:
    """Show entries of PATH in full, oldest first: the record, what was raised, and where."""
    found = _asked(lambda: _opened(letters).entries(most=most, **_which(given)))
    for letter in found:
        told = letter.as_dict()
        record = told["record"] if told["record_form"] in ("text", "repr") else json.dumps(told["record"])
        click.echo(
            printable(
                f"{letter.id}  {letter.failure()}\n"
                f"  of {letter.pipeline}, {letter.attempts} attempt{'' if letter.attempts == 1 else 's'}, first "
                f"{_time(letter.first)}, last {_time(letter.last)}\n"
                f"  record ({told['record_form']}): {record}\n{letter.traceback}{_logged(letter)}"
            )
        )
    if not found:
        click.echo("None is of that kind.", err=True)
    return DONE


@dead.command()
@file_option
@which_options
@explained
def export(letters: Path, **given: Any) -> int:
    """Write entries of PATH to standard output, a line of JSON each, oldest first."""
    kept, which, after = _opened(letters), _which(given), 0
    while found := _asked(partial(kept.entries, most=AT_ONCE, after=after, **which)):
        for letter in found:
            click.echo(json.dumps(letter.as_dict()))
        after = found[-1].id
    return DONE


@dead.command()
@file_option
@which_options
@click.option("--yes", is_flag=True, help="Do not ask.")
@explained
def drop(letters: Path, *, yes: bool, **given: Any) -> int:
    """Remove entries of PATH for good."""
    kept, which = _opened(letters), _which(given)
    count = _asked(lambda: sum(group.count for group in kept.groups(**which)))
    if not yes and count:
        click.confirm(f"Drop {count:,} dead letters of {letters}?", abort=True)
    click.echo(f"{_asked(lambda: kept.drop(**which)):,} dropped")
    return DONE


@dead.command()
@file_option
@target_options
@which_options
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), metavar="N", help="Records a second at most.")
@click.option("--trust", is_flag=True, help="Read pickles, which can run any code: only of a file of your own.")
@click.option(
    "--sink", metavar="URL", help="Write results here, behind what is there; in place of the pipeline's sink."
)
@frame_options
@PROGRESS
@LOG_LEVEL
@LOG_FORMAT
@explained
def replay(
    letters: Path,
    target: str,
    *,
    app_dir: Path | None,
    settings: tuple[str, ...],
    rate: float | None,
    trust: bool,
    sink: str | None,
    log_level: str,
    log_format: str,
    **given: Any,
) -> int:
    """Feed entries of PATH to a pipeline, MODULE:PIPELINE. What is handled is removed, what fails again stays."""
    which = _which(given)
    add_app_dir(app_dir)
    pipeline = load_pipeline(target)
    apply_settings(pipeline, settings)
    feed = _opened(letters).replay(rate=rate, trust=trust, **which)
    if sink is not None:
        pipeline.sink = sink_to(sink, append=True)  # type: ignore[attr-defined]  # a pipeline may have one
    show_logs(log_level, log_format)
    report = reported(pipeline, FrameOptions(**given), feed=feed)
    if report.ended_by == "stopped":
        return INTERRUPTED
    return FAILED if report.failed or report.ack_errors else DONE


def _asked(look: Callable[[], Any]) -> Any:
    try:
        return look()
    except OSError as error:
        raise CommandFailed(str(error)) from error
