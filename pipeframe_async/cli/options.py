"""The options that commands share, and what they mean for a `PipeFrame`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from pipeframe_async.errors import ConfigError
from pipeframe_async.executors import choose
from pipeframe_async.executors.cores import default_workers
from pipeframe_async.observe.monitor import address
from pipeframe_async.observe.progress import MODES

Command = TypeVar("Command", bound=Callable[..., Any])

CPU_COUNT: Final = click.option(
    "--cpu-count", type=click.IntRange(min=1), metavar="N", help="Workers. Default: the usable cores but one."
)
BUFFER_SIZE: Final = click.option(
    "--buffer-size",
    type=click.IntRange(min=1),
    default=10_000,
    show_default=True,
    metavar="N",
    help="Most records between the feed and the consumer.",
)
PROGRESS: Final = click.option(
    "--progress",
    type=click.Choice(MODES),
    default="auto",
    show_default=True,
    help="auto: a bar on a terminal, else plain lines. All on standard error; json also makes the report JSON.",
)


def _checked_executor(context: click.Context, option: click.Parameter, value: str) -> str:
    try:
        choose.check(value)
    except ConfigError as error:
        raise click.BadParameter(str(error)) from error
    return value


EXECUTOR: Final = click.option(
    "--executor",
    default="processes",
    show_default=True,
    metavar="KIND",
    callback=_checked_executor,
    help=f"Where steps run: {', '.join(choose.NAMES)}, or dask://host:port.",
)


@dataclass(frozen=True, slots=True)
class FrameOptions:
    """What the command line says about the frame."""

    cpu_count: int | None
    buffer_size: int
    executor: str
    progress: str = "none"
    monitor: str | None = None
    monitor_token: str | None = None
    report: Path | None = None
    health_file: Path | None = None

    @property
    def workers(self) -> int:
        """How many workers that makes."""
        return self.cpu_count or default_workers()

    def keywords(self) -> dict[str, Any]:
        """As keywords of `PipeFrame`."""
        return {
            "cpu_count": self.cpu_count,
            "buffer_size": self.buffer_size,
            "executor": self.executor,
            "progress": self.progress,
            "handle_signals": True,
            **({} if self.monitor is None else {"monitor": self.monitor, "monitor_token": self.monitor_token}),
            **({} if self.report is None else {"report": self.report}),
            **({} if self.health_file is None else {"health_file": self.health_file}),
        }


def frame_options(command: Command) -> Command:
    """Give a command the options about the frame; it gets them as the fields of `FrameOptions`."""
    return CPU_COUNT(BUFFER_SIZE(EXECUTOR(command)))


def watched_options(command: Command) -> Command:
    """Give a command what shows its run to others; it gets them as the fields of `FrameOptions`."""
    monitor = click.option(
        "--monitor",
        metavar="[HOST:PORT]",
        is_flag=False,
        flag_value=address.DEFAULT,
        help=f"Show the run live, with metrics and probes, at this address; {address.DEFAULT} where none is said.",
    )
    token = click.option(
        "--monitor-token",
        envvar="PIPEFRAME_MONITOR_TOKEN",
        metavar="SECRET",
        help="What requests must carry where other machines can reach the address. Better by its variable "
        "PIPEFRAME_MONITOR_TOKEN: others see the command line.",
    )
    file = click.Path(dir_okay=False, path_type=Path)
    report = click.option("--report", type=file, metavar="FILE", help="Write the page here as it is at the end (HTML).")
    health = click.option(
        "--health-file", type=file, metavar="FILE", help="Keep here whether it is well, for `pipeframe health FILE`."
    )
    return monitor(token(report(health(command))))


def target_options(command: Command) -> Command:
    """Give a command the pipeline to work on: `target`, `app_dir`, `settings`."""
    target = click.argument("target", metavar="MODULE:PIPELINE")
    app_dir = click.option(
        "--app-dir",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        metavar="DIR",
        help="Look for modules here too; the working directory is not searched by itself.",
    )
    settings = click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="NAME=VALUE",
        help="Set an attribute of the pipeline, e.g. --set timeout=10. May be given more than once.",
    )
    return target(app_dir(settings(command)))


def job_options(command: Command) -> Command:
    """Give a command what makes a job of a pipeline: `checkpoint`, the path of its state or None, and `restart`."""
    checkpoint = click.option(
        "--checkpoint",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Keep here how far the run has come: killed or stopped, it goes on there when it is run again.",
    )
    restart = click.option("--restart", is_flag=True, help="Begin a job anew, whatever was done before.")
    return checkpoint(restart(command))


def ends_options(command: Command) -> Command:
    """Give a command what replaces the pipeline's ends: `feed`, `sink`, `dead_letter`, each a URL or None."""
    feed = click.option(
        "--feed",
        metavar="URL",
        help="Read from here in place of the pipeline's feed: a file or glob by its suffix, - for JSON lines on "
        "standard input, lines:PATH, csv:PATH …",
    )
    sink = click.option(
        "--sink", metavar="URL", help="Write results here: a file by its suffix, - for standard output."
    )
    dead_letter = click.option(
        "--dead-letter",
        metavar="FILE",
        help="Keep failures here: a file of dead letters by its end, .dead (see `pipeframe dead`), or lines of JSON.",
    )
    return feed(sink(dead_letter(command)))
