"""From `module:Pipeline` on the command line to the pipeline, without trusting the directory one happens to be in.

Only dotted names, never files or expressions; modules of the working directory only where --app-dir says so.
"""

from __future__ import annotations

import importlib
import os
import stat
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import click

from pipeframe_async.cli.exits import CommandFailed
from pipeframe_async.errors import ConfigError
from pipeframe_async.pipeline_engine import PipelineEngine

Pipeline = PipelineEngine[Any, Any]


def add_app_dir(directory: Path | None) -> None:
    """Put a directory of the user's at the head of the module path.

    Raises:
        click.BadParameter: anybody may write there, and so could decide what is run.
    """
    if directory is None:
        return
    place = directory.resolve()
    if os.name == "posix" and place.stat().st_mode & stat.S_IWOTH:
        raise click.BadParameter(
            f"{place} is writable for everybody, who could put any code there: chmod o-w it first",
            param_hint="--app-dir",
        )
    sys.path.insert(0, str(place))
    importlib.invalidate_caches()


def load_pipeline(target: str) -> Pipeline:
    """Import the module and make the pipeline.

    Args:
        target: `package.module:Name`; the name may be dotted, and mean a class or an instance.

    Raises:
        click.BadParameter: it is not written so, or there is no such thing.
        CommandFailed: importing the module, or making the pipeline, raised.
        ConfigError: the pipeline needs arguments.
    """
    module_name, name = _split(target)
    found: Any = _imported(module_name)
    module = found
    for part in name.split("."):
        if not hasattr(found, part):
            raise _bad(f"module {module_name!r} has no {name!r}{_offer(module)}")
        found = getattr(found, part)
    if isinstance(found, PipelineEngine):
        return found
    if not isinstance(found, type) or not issubclass(found, PipelineEngine) or found is PipelineEngine:
        raise _bad(
            f"{target} is no pipeline but a {type(found).__name__}: name a subclass of PipelineEngine{_offer(module)}"
        )
    return _made(found)


def _split(target: str) -> tuple[str, str]:
    module, colon, name = target.partition(":")
    if module.endswith(".py") or "/" in module or "\\" in module:
        path = Path(module)
        raise _bad(
            f"{target!r} names a file: write the module instead, {path.stem}:{name or 'Pipeline'} "
            f"--app-dir {path.parent}"
        )
    if not colon or not all(part.isidentifier() for part in [*module.split("."), *name.split(".")]):
        raise _bad(f"{target!r} is not of the form module:Pipeline, for instance orders.daily:Refunds")
    return module, name


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise CommandFailed(f"importing {name} failed: {error}") from error
        raise _bad(
            f"there is no module {error.name!r} among the installed ones. The working directory is not searched "
            f"unless you say so: --app-dir ."
        ) from None
    except (Exception, SystemExit) as error:
        raise CommandFailed(f"importing {name} failed: {type(error).__name__}: {error}") from error


def _made(pipeline: type[Pipeline]) -> Pipeline:
    try:
        return pipeline()
    except TypeError as error:
        raise ConfigError(
            f"{pipeline.__name__}() cannot be made without arguments ({error}): name an instance of it instead"
        ) from error
    except Exception as error:
        raise CommandFailed(f"{pipeline.__name__}() raised {type(error).__name__}: {error}") from error


def _offer(module: ModuleType) -> str:
    """What could have been meant."""
    own = [
        name
        for name, value in vars(module).items()
        if isinstance(value, PipelineEngine)
        or (isinstance(value, type) and issubclass(value, PipelineEngine) and value is not PipelineEngine)
    ]
    return f"; it has {', '.join(own)}" if own else f"; {module.__name__} has no pipeline at all"


def _bad(message: str) -> click.BadParameter:
    return click.BadParameter(message, param_hint="target")
