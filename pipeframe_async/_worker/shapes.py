"""What is certain about a step before it is called, so that the hot loop need not look at all it returns.

Decides in the worker, of the very function it is going to call; nothing of it travels. A plain function whose every
`return` builds a pair that ends in the constant True can return nothing else. What is not certain is `Form.ANY`.
"""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable
from enum import Enum
from functools import partial
from types import CodeType, FunctionType, MethodType
from typing import Any

from pipeframe_async.steps import Apply, KeepIf, Named, Wrapped

Step = Callable[[Any], Any]

KNOWN_BYTECODE = sys.implementation.name == "cpython" and (3, 11) <= sys.version_info < (3, 16)
"""Whether this is an interpreter whose bytecode the proof was tried on; of any other nothing is certain."""
CONSTANTS = ("LOAD_CONST", "LOAD_COMMON_CONSTANT")
"""What pushes a constant of the code; the second is how 3.15 has True, and what else everybody has."""


class Form(Enum):
    """What a call gives, if it does not raise."""

    ANY = "whatever a step may return, or may not"
    PAIR = "a plain tuple of two"
    GOES_ON = "a plain tuple of two, the second of them True"
    RECORD = "the next record itself"
    TRUTH = "whether the record is kept"


def known(step: Step) -> tuple[Form, Step]:
    """What to call for this step, and the form of what that gives.

    A function of known form is called by a private copy: whoever replaces its `__code__` does not reach that.
    """
    if type(step) is Apply or type(step) is Named:
        return Form.RECORD, step.fn
    if type(step) is KeepIf:
        return Form.TRUTH, step.fn
    return _sealed(step)


def made_of(step: object) -> tuple[object, ...]:
    """What `known` has looked at: while all of it is the same objects, its answer holds."""
    if type(step) is FunctionType:
        return step.__code__, step.__defaults__, step.__kwdefaults__
    if type(step) is MethodType or type(step) is staticmethod:
        return made_of(step.__func__)
    if type(step) is partial:
        return step.args, step.keywords, *made_of(step.func)
    return (step.fn,) if isinstance(step, Wrapped) and type(step) in (Apply, Named, KeepIf) else ()


def form_of(code: CodeType) -> Form:
    """What a function with this code returns, as far as each of its returns has it before its eyes."""
    if not KNOWN_BYTECODE:
        return Form.ANY
    instructions = list(dis.get_instructions(code))
    padded = instructions[:1] * 2 + instructions
    forms = {  # a generator, or a coroutine, begins with RETURN_GENERATOR
        _form_of_return(*ending)
        for ending in zip(padded, padded[1:], instructions, strict=False)
        if "RETURN" in ending[-1].opname or "YIELD" in ending[-1].opname
    }
    return Form.ANY if Form.ANY in forms else Form.PAIR if Form.PAIR in forms else Form.GOES_ON


def _form_of_return(second: dis.Instruction, build: dis.Instruction, leave: dis.Instruction) -> Form:
    """What these leave behind: a return and the two instructions before it, which jumps may go round."""
    if (build.opname, build.arg, leave.opname) != ("BUILD_TUPLE", 2, "RETURN_VALUE") or leave.is_jump_target:
        return Form.ANY
    ends_in_true = second.opname in CONSTANTS and second.argval is True and not build.is_jump_target
    return Form.GOES_ON if ends_in_true else Form.PAIR


def _sealed(step: Step) -> tuple[Form, Step]:
    if type(step) is FunctionType:
        form = form_of(step.__code__)
        copy = None if form is Form.ANY else _copied(step)
        return (Form.ANY, step) if copy is None else (form, copy)
    if type(step) is staticmethod:
        return _sealed(step.__func__)
    if type(step) is MethodType:
        form, function = _sealed(step.__func__)
        return (form, step) if form is Form.ANY else (form, MethodType(function, step.__self__))
    if type(step) is partial:
        form, function = _sealed(step.func)
        return (form, step) if form is Form.ANY else (form, _same_partial(function, step))
    return Form.ANY, step


def _copied(function: FunctionType) -> FunctionType | None:
    copy = FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    made: Any = copy  # type checkers disagree on whether functions have builtins
    like: Any = function
    return copy if made.__builtins__ is like.__builtins__ else None


def _same_partial(function: Step, like: partial[Any]) -> partial[Any]:
    """With the very dict of keywords, not a copy of it: it may be changed."""
    made = partial(function)
    made.__setstate__((function, like.args, like.keywords, None))  # type: ignore[attr-defined]
    return made
