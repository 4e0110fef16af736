"""`pipeframe check module:Pipeline`: says what is wrong with a pipeline, or how it would run. Runs nothing of it."""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeframe_async.cli.exits import DONE, explained
from pipeframe_async.cli.logs import LOG_LEVEL, show_logs
from pipeframe_async.cli.options import FrameOptions, frame_options, target_options
from pipeframe_async.cli.settings import apply_settings
from pipeframe_async.cli.target import add_app_dir, load_pipeline
from pipeframe_async.executors import choose
from pipeframe_async.frame import PipeFrame
from pipeframe_async.plan import AsyncSteps, Plan, feed_of, instance_of, plan_of
from pipeframe_async.steps import step_name

PLACES: Final = {"worker": "worker process", "thread": "thread", "inline": "on the event loop"}
"""What an executor calls the place of its steps, and what a person would."""


@click.command()
@target_options
@frame_options
@LOG_LEVEL
@explained
def check(target: str, app_dir: Path | None, settings: tuple[str, ...], log_level: str, **frame: Any) -> int:
    """Check a pipeline without running it, and say how it would run.

    Its module is imported and its class instantiated; no feed is opened and no worker started.
    """
    add_app_dir(app_dir)
    pipeline = load_pipeline(target)
    apply_settings(pipeline, settings)
    show_logs(log_level)  # a misspelt knob is what one checks for
    options = FrameOptions(**frame)
    PipeFrame(**options.keywords())
    fed = feed_of(instance_of(pipeline), call=False)
    plan = plan_of(pipeline, fed)
    feed = fed.form.value
    where = asyncio.run(_shipped(plan, options))
    _show(plan.name, _about(plan, feed, options, where))
    return DONE


async def _shipped(plan: Plan, options: FrameOptions) -> str:
    """Make the steps ready as a run would, which finds what cannot be sent to workers; says where they would run."""
    executor = choose.make(choose.check(options.executor), options.workers)
    chain = plan.chain
    try:
        if chain is not None:
            executor.load(chain)
    finally:
        await executor.close(kill=False, timeout=1.0)
    where = PLACES.get(executor.where, executor.where)
    stays = executor.beside is None or (chain is not None and chain.time_limit is not None)
    return where if stays else f"{where}, or beside the loop"


def _about(plan: Plan, feed: str, options: FrameOptions, where: str) -> Iterator[tuple[str, str]]:
    yield "feed", feed
    yield "source", _source(plan)
    kinds = [isinstance(segment, AsyncSteps) for segment in plan.segments for _ in segment.names]
    for number, (name, on_the_loop) in enumerate(zip(plan.names, kinds, strict=True), 1):
        yield "steps" if number == 1 else "", f"{number}. {name} ({'event loop' if on_the_loop else where})"
    if any(kinds):
        yield "concurrency", f"{plan.async_concurrency:,} records at a time in a run of async steps"
    yield "order", _order(plan)
    if plan.retry is not None:
        yield "retry", f"{plan.retry.attempts} attempts"
    yield "sink", _hook(plan.sink) or "none: results are counted and not sent back"
    yield "dead letter", _hook(plan.dead_letter) or "none"
    yield "failures", _failures(plan.max_failures)
    if plan.kept is not None:
        yield "checkpoint", f"every {plan.kept.checkpoint.every:g} s, in {os.fspath(plan.kept.checkpoint.path)}"
    yield "batches", "self-tuning" if plan.batch_size is None else f"{plan.batch_size:,} records each"
    yield "workers", _workers(options)
    yield "buffer", f"{options.buffer_size:,} records"


def _workers(options: FrameOptions) -> str:
    if options.executor == "inline":
        return "none: steps run inline"
    if options.executor.startswith("dask"):
        return f"at most {options.cpu_count}" if options.cpu_count else "as many as the cluster has threads"
    return str(options.workers)


def _order(plan: Plan) -> str:
    match plan.order:
        case "input":
            return "input: results in feed order"
        case "completion":
            return "completion: results as they finish"
    return f"by key: feed order within each {step_name(plan.order)}"


def _source(plan: Plan) -> str:
    if plan.source == "batch":
        return "batch: the feed runs to its end before the first step starts"
    if plan.timeout is None:
        return "stream: feed and steps run together, until the feed ends"
    return f"stream: feed and steps run together, until the feed ends or is idle for {plan.timeout:g} s"


def _hook(hook: Callable[..., object] | None) -> str:
    if hook is None:
        return ""
    return "async, on the loop" if inspect.iscoroutinefunction(hook) else "in a thread"


def _failures(most: int | float | None) -> str:
    match most:
        case None:
            return "any number may fail"
        case float():
            return f"stops when more than {most:.0%} have failed"
        case 0:
            return "stops at the first"
    return f"stops when more than {most:,} have failed"


def _show(name: str, rows: Iterable[tuple[str, str]]) -> None:
    console = Console(highlight=False)
    console.print(Text.assemble((name, "bold"), " is ready to run.\n"))
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    for label, value in rows:
        table.add_row(f"  {label}", Text(value))
    console.print(table)
