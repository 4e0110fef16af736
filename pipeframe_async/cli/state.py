"""`pipeframe state FILE`: what is in the state of a job, also while that runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from pipeframe_async.checkpoint import JobState
from pipeframe_async.cli.exits import DONE, CommandFailed, explained, printable
from pipeframe_async.cli.rows import print_rows
from pipeframe_async.state_file import look

SHOWN: Final = 200
"""Characters of a position that are shown; one may hold what its file has not written yet."""


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE")
@click.option("--json", "as_json", is_flag=True, help="All of it, as a line of JSON.")
@explained
def state(file: Path, *, as_json: bool) -> int:
    """Show what is in the state FILE of a job with a checkpoint."""
    try:
        found, updated, holder = look(str(file))
    except OSError as error:
        raise CommandFailed(str(error)) from error
    if as_json:
        kept = None if found is None else asdict(found)
        click.echo(json.dumps({"state": kept, "updated": updated, "holder": holder}))
        return DONE
    if found is None:
        click.echo(f"{file} has no state yet: its job has been begun, and nothing of it is done.")
        return DONE
    click.echo(printable(f"{file}: {_standing(found, holder)}\n"))
    print_rows(_about(found, updated))
    return DONE


def _standing(state: JobState, holder: dict[str, Any] | None) -> str:
    if state.finished:
        return "the job is done; a run of it does nothing, unless it is begun anew with --restart."
    if holder is not None:
        return f"process {holder['pid']} is at work."
    return "the job has been ended, and goes on when it is run again."


def _about(state: JobState, updated: float) -> Iterator[tuple[str, str]]:
    done, totals = state.done, state.totals
    early = f", and {done.records - done.watermark:,} after those" if done.above else ""
    yield "done", f"the first {done.watermark:,} records{early}"
    yield "became", " · ".join(f"{name} {count:,}" for name, count in totals.items() if count) or "nothing yet"
    yield "lives", f"{state.lives:,}"
    yield "saved", datetime.fromtimestamp(updated, UTC).astimezone().isoformat(" ", "seconds")
    for name, value in state.fingerprint.items():
        if value is not None:
            yield name, " → ".join(value) if isinstance(value, list) else str(value)
    if state.feed is not None:
        yield "feed begins", f"{_shown(state.feed.position)}, behind {state.feed.records:,} records"
    for name, position in (("sink is at", state.sink), ("dead letter is at", state.dead_letter)):
        if position is not None:
            yield name, _shown(position)


def _shown(position: Any) -> str:
    text = json.dumps(position)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
