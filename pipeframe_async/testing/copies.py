"""A pipeline as another object with other ends, so that a test changes nothing of the one it is given.

Comes in: an instance, and what it shall have instead. It is as good for workers as the first one; what takes results
in its place stays where it is.
"""

from __future__ import annotations

from types import MethodType
from typing import Any, TypeVar

from pipeframe_async.errors import ConfigError
from pipeframe_async.pipeline_engine import PipelineEngine, name_of

P = TypeVar("P", bound=PipelineEngine[Any, Any])


def stays_at_home(self: object) -> tuple[object, ...]:
    """The `__reduce__` of what has no business in a worker, and travels with a pipeline that has: there it is None."""
    return type(None), ()


def copy_of(engine: P, **instead: Any) -> P:
    """The same pipeline with these attributes.

    Its own attributes are those of the first one, and not copies of them; a step that is one of its methods is the
    copy's, so that what `setup` sets is there for it.

    Raises:
        ConfigError: an attribute cannot be replaced, for its class has a property of that name.
    """
    copy = object.__new__(type(engine))
    for cls in type(engine).__mro__:
        for slot in getattr(cls, "__slots__", ()):
            if hasattr(engine, slot):
                object.__setattr__(copy, slot, getattr(engine, slot))
    vars(copy).update(vars(engine))
    if "steps" in vars(engine):
        instead = {"steps": engine.steps, **instead}
    if isinstance(steps := instead.get("steps"), (list, tuple)):
        instead["steps"] = [_moved(step, engine, copy) for step in steps]
    vars(copy).update(instead)
    for name, value in instead.items():
        if getattr(copy, name) is not value:
            raise ConfigError(
                f"{name_of(engine)}.{name} is a property, and a test cannot put anything in its place: let "
                "`__init__` set it, or the class body"
            )
    return copy


def _moved(step: Any, engine: object, copy: object) -> Any:
    return MethodType(step.__func__, copy) if getattr(step, "__self__", None) is engine else step
