"""`current_traceparent`: under which span of a trace a step is at work, as W3C has it, wherever that is.

Set around a record that is traced: in its worker, or in the task of its async step. Knows nothing of any library.
"""

from __future__ import annotations

from contextvars import ContextVar, Token

_here: ContextVar[str | None] = ContextVar("pipeframe_traceparent", default=None)


def current_traceparent() -> str | None:
    """The `traceparent` of the record that this step has, to be handed on: a header of a request, a comment in SQL.

    Returns:
        `"00-<trace>-<span>-<flags>"`; None where the record is in no trace, or this is no step.

    Process: wherever the step runs; not in threads that it has started.
    """
    return _here.get()


def within(traceparent: str | None) -> Token[str | None]:
    """What is done from now on in this context is done for a record of that span."""
    return _here.set(traceparent)


def no_more(token: Token[str | None]) -> None:
    """Undo `within`."""
    _here.reset(token)
