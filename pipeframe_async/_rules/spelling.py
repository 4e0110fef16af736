"""What a name was meant to be: options that are in the wrong place, and what a class sets that means nothing.

A name comes in, with its value and where it was written; what to write goes out. Where a name may be the user's own,
nothing is said of it: it has to be nearly that of a knob or a hook, and its value one that this takes.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from difflib import SequenceMatcher, get_close_matches
from typing import Any

from pipeframe_async.checkpoint import Checkpoint
from pipeframe_async.errors import ConfigError
from pipeframe_async.pipeline_engine import PipelineEngine, Retry
from pipeframe_async.steps import Wrapped

ELSEWHERE = {
    **dict.fromkeys(("workers", "max_workers", "processes", "n_jobs", "num_workers"), "cpu_count"),
    **dict.fromkeys(("chunksize", "chunk_size"), "batch_size"),
    "concurrency": "async_concurrency",
    "retries": "retry",
}
"""What other libraries call them."""

OWN = ("concurrency",)
"""Of these, what a pipeline may have for itself."""

OF_RUN = ("load", "restart")
"""What neither the frame has nor the pipeline."""

NEAR = 0.85
"""How alike two names are, by difflib's ratio, that are taken for one. Lower refuses what is a user's own, such as
`max_features`; higher takes a lost letter for one."""


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _takes(arguments: int) -> Callable[[Any], bool]:
    """Whether something is a method of so many arguments, as its class has it."""

    def method(value: Any) -> bool:
        function = getattr(value, "__func__", value)
        if not inspect.isfunction(function):
            return False
        try:
            inspect.signature(function).bind(*[None] * (arguments + (not isinstance(value, staticmethod))))
        except TypeError:
            return False
        return True

    return method


def _writes(value: Any) -> bool:
    return _takes(1)(value) or (not isinstance(value, type) and callable(getattr(value, "write", None)))


def _feeds(value: Any) -> bool:
    function = getattr(value, "__func__", value)
    return inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function) or hasattr(value, "__aiter__")


KINDS: dict[str, Callable[[Any], bool]] = {
    "steps": lambda value: isinstance(value, (list, tuple)) and bool(value) and all(map(callable, value)),
    "feed": _feeds,
    **dict.fromkeys(("sink", "dead_letter"), _writes),
    "on_progress": _takes(1),
    **dict.fromkeys(("setup", "teardown"), _takes(0)),
    "source": lambda value: value in ("batch", "stream"),
    "order": lambda value: value in ("input", "completion"),
    **dict.fromkeys(("timeout", "time_limit", "batch_size", "async_concurrency", "max_failures"), _number),
    "retry": lambda value: isinstance(value, Retry),
    "checkpoint": lambda value: isinstance(value, (str, os.PathLike, Checkpoint)),
}
"""What a class may set, and whether a value of another name looks like one for it."""

MAY_BE_MANY = ("sink", "dead_letter")
"""Hooks whose plural is a slip, where it takes a list. Any other may be the user's own, as `step` may."""


def refuse_option(
    caller: str, options: Collection[str], of_frame: Collection[str], values: Mapping[str, object]
) -> None:
    """Refuse options that are none, or another's.

    Args:
        caller: whose they would be, e.g. `"run()"`.
        options: what it has.
        of_frame: what `PipeFrame` has.
        values: what it was given, by name.

    Raises:
        ConfigError: one of them is none of its options; the message says where it belongs, or what it is called.
    """
    for name, value in values.items():
        if name in options:
            continue
        raise ConfigError(f"{caller} has no option {name}={value!r}: {_where(name, options, of_frame)}")


def _where(name: str, options: Collection[str], of_frame: Collection[str]) -> str:
    if name in OF_RUN and name not in options:
        return f"it belongs to the run: write run(P, {name}=...)"
    known = list(dict.fromkeys((*options, *of_frame, *KINDS)))
    near = [name] if name in known else [ELSEWHERE[name]] if name in ELSEWHERE else get_close_matches(name, known, 1)
    if not near:
        return f"there are {', '.join(options)}"
    (meant,) = near
    if meant in options:
        place = ""
    elif meant in of_frame:
        place = f"it belongs to the frame: write PipeFrame({meant}=...)"
    else:
        by_name = "" if meant == "steps" else f", or pipeline(..., {meant}=...)"
        place = f"it belongs to the pipeline: set `{meant}` in its class{by_name}"
    return place if meant == name else f"did you mean {meant}?{place and f' I{place[1:]}'}"


def misspelt(engine: PipelineEngine[Any, Any], steps: Sequence[Callable[..., Any]]) -> Iterator[tuple[str, str]]:
    """What a pipeline sets, in its class or where it is made, that means nothing; and what it was meant to be."""
    of_steps = {id(function) for step in steps for function in _functions(step)}
    classes = [cls for cls in type(engine).__mro__ if issubclass(cls, PipelineEngine) and cls is not PipelineEngine]
    places = [*(vars(cls) for cls in reversed(classes)), getattr(engine, "__dict__", {})]
    said = {attribute for place in places for attribute in place}
    for place in places:
        for attribute, value in place.items():
            if attribute.startswith("_") or attribute in KINDS or id(getattr(value, "__func__", value)) in of_steps:
                continue
            meant = next((knob for knob in KINDS if _means(attribute, knob) and KINDS[knob](value)), None)
            if meant is not None and meant not in said:
                yield attribute, meant


def _means(attribute: str, knob: str) -> bool:
    """Whether one stands for the other: by another library's name, unless that may be the user's own, or by a slip."""
    return (ELSEWHERE.get(attribute) == knob and attribute not in OWN) or _near(attribute, knob)


def _functions(step: Any) -> Iterator[Any]:
    function = step.fn if isinstance(step, Wrapped) else step
    yield step
    yield function
    yield getattr(function, "__func__", function)


def _near(attribute: str, knob: str) -> bool:
    """Whether one may be a slip of the other: underscores, letters that changed places, one too many or too few."""
    written, meant = attribute.replace("_", "").lower(), knob.replace("_", "")
    if written == meant + "s":
        return knob in MAY_BE_MANY
    if written + "s" == meant:
        return knob != "steps"
    if written == meant or _swapped(written, meant):
        return True
    of_its_own = attribute.startswith(f"{knob}_") or attribute.endswith(f"_{knob}") or not written.isalpha()
    return not of_its_own and written[0] == meant[0] and SequenceMatcher(None, written, meant).ratio() >= NEAR


def _swapped(written: str, meant: str) -> bool:
    """Whether two neighbours have changed places: `skin` is no slip of `sink`, nor `upset` of `setup`."""
    if len(written) != len(meant):
        return False
    off = [at for at, pair in enumerate(zip(written, meant, strict=True)) if pair[0] != pair[1]]
    return (
        len(off) == 2 and off[1] == off[0] + 1 and written[off[0]] == meant[off[1]] and written[off[1]] == meant[off[0]]
    )
