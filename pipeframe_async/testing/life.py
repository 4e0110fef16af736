"""One life of a job, in a process of its own: `python -m pipeframe_async.testing.life SPEC`.

Comes in: which pipeline, and the frame's options, as JSON. Goes out: lines of JSON in a file, since pipes may be full,
and this process may be killed at any moment: what the job is, that it has begun, its books now and then, its report.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import json
import os
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, Final, TextIO

from pipeframe_async.checkpoint import Checkpoint
from pipeframe_async.errors import ConfigError
from pipeframe_async.frame import PipeFrame
from pipeframe_async.pipeline_engine import PipelineEngine, name_of
from pipeframe_async.plan import instance_of

LOOKS: Final = 0.02
"""Seconds between two looks at the books. Longer knows less of a life that was killed, shorter costs it time."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a pipeline's class is: `module` is imported, or made of `file` where there is none of that name.

    `name`: of the class, dotted; empty for the one of a file that has a checkpoint.
    """

    module: str
    file: str
    name: str


def loaded(target: Target) -> type[PipelineEngine[Any, Any]]:
    """The class.

    Raises:
        ConfigError: there is none, or no one that is meant.
    """
    module = _module(target)
    if not target.name:
        return _only_job(module, target.file)
    found: Any = module
    for part in target.name.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, type) or not issubclass(found, PipelineEngine):
        raise ConfigError(f"{target.module} has no pipeline {target.name}")
    return found


def _module(target: Target) -> ModuleType:
    if _is_importable(target.module):
        return importlib.import_module(target.module)
    spec = importlib.util.spec_from_file_location(target.module, target.file)
    if spec is None or spec.loader is None:
        raise ConfigError(f"there is no module {target.module}, and {target.file!r} is none")
    module = sys.modules[target.module] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _is_importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ImportError:  # of a package above it
        return False


def _only_job(module: ModuleType, file: str) -> type[PipelineEngine[Any, Any]]:
    jobs = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, PipelineEngine)
        and value.__module__ == module.__name__
        and value.checkpoint is not None
    ]
    if len(jobs) != 1:
        names = ", ".join(job.__name__ for job in jobs) or "none"
        raise ConfigError(f"{file} has {len(jobs)} pipelines with a checkpoint ({names}): say which, as {file}:Name")
    return jobs[0]


def about(engine: PipelineEngine[Any, Any]) -> dict[str, Any]:
    """What the job is: the paths of its state, and of its sink and dead letter where those say one, and its order."""
    given = engine.checkpoint
    if given is None:
        raise ConfigError(f"{name_of(engine)} has no checkpoint: a run of it that is killed begins again")
    ends = {name: getattr(getattr(engine, name, None), "path", None) for name in ("sink", "dead_letter")}
    return {
        "name": name_of(engine),
        "state": os.path.abspath(given.path if isinstance(given, Checkpoint) else given),
        "order": engine.order if isinstance(engine.order, str) else "key",
        **{name: os.path.abspath(path) if isinstance(path, (str, Path)) else None for name, path in ends.items()},
    }


async def _live(engine: PipelineEngine[Any, Any], options: dict[str, Any], told: TextIO) -> None:
    frame = PipeFrame(**options)
    looking = asyncio.create_task(_look(frame, told))
    _tell(told, begun=True)
    try:
        report = await frame.run(engine)
    finally:
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking
    _tell(told, report=asdict(replace(report, teardowns=[])))


async def _look(frame: PipeFrame, told: TextIO) -> None:
    while True:
        stats = frame.stats()
        _tell(told, fed=stats.fed, skipped=stats.skipped)
        await asyncio.sleep(LOOKS)


def _tell(told: TextIO, **values: object) -> None:
    told.write(json.dumps(values, default=str) + "\n")
    told.flush()


def main(spec: str) -> None:
    """Live."""
    given = json.loads(spec)
    with open(given["told"], "a", encoding="utf-8") as told:
        engine = instance_of(loaded(Target(**given["target"])))
        if given["only_about"]:
            _tell(told, about=about(engine))
        else:
            asyncio.run(_live(engine, given["options"], told))


if __name__ == "__main__":
    main(sys.argv[1])
