"""What `--checkpoint` makes of a pipeline."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pipeframe_async.checkpoint import Checkpoint
from pipeframe_async.cli.target import Pipeline


def keep(pipeline: Pipeline, path: Path | None) -> None:
    """Have a pipeline keep its state there, as often as it does anyway; not where no path is given."""
    if path is not None:
        own = pipeline.checkpoint
        pipeline.checkpoint = replace(own, path=path) if isinstance(own, Checkpoint) else Checkpoint(path)
