"""The hot loop over a batch, written out for its steps: source made once a chain, where a loop over them would
cost more than trivial steps themselves (`benchmarks/chain.py`).

Comes in: records. Goes out: results appended to the tally, and how many records went no further than each step.
It settles what is usual; all else is the chain's to judge. No text of the user's gets into the source: only the
number of steps and their forms do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from operator import is_
from time import perf_counter_ns
from types import CellType, GeneratorType
from typing import Any

from pipeframe_async._worker.shapes import Form, Step, known, made_of
from pipeframe_async.failures import UNROLLED
from pipeframe_async.model import DROP

_CALL = re.compile(r"\bstep(\d+)\(record\)")
"""Where a step is called: `STEP_AT` of a loop's globals says of each such line which one, to who looks at its stack."""
Loop = Callable[[Any, Any, Sequence[int], Sequence[Any], Any, Any, list[int]], None]
"""`loop(chain, tally, indices, records, index_cell, step_cell, left)`; the cells are the cursor's."""

_MAKE = """\
def make({steps}):
    def loop(chain, tally, indices, records, index_cell, step_cell, left):
        append, spans = tally.results.append, tally.spans
        took, samples = tally.took, tally.samples # timed
        for index, record in zip(indices, records):
            index_cell[()] = index
{body}
            append(record)
    return loop
"""

# A try around the call alone: it costs nothing until a step raises, and then it is known which one it was.
_STEP = """\
            step_cell[()] = {at} # say
            started = now() # timed
            try:
                {call}
            except BaseException as error:
                took({at}, now() - started, index) # timed
                left[{at}] += 1
                chain._fail(tally, index, {at}, error)
                continue
            took({at}, now() - started, index) # timed
"""

_CALLS = {
    Form.ANY: "outcome = step{at}(record)",
    Form.PAIR: "record, keep_going = step{at}(record)",
    Form.GOES_ON: "record, _ = step{at}(record)",
    Form.RECORD: "record = step{at}(record)",
    Form.TRUTH: "dropped = not step{at}(record)",
}

_UNLESS_TUPLE = """\
            if type(outcome) is not tuple:
                left[{at}] += 1
                if outcome is DROP:
                    spans[index] = 0
                    tally.filtered += 1
                    continue
                if type(outcome) is GeneratorType: # timed
                    samples[{at}].pop() # timed: it has not begun, and whoever runs it times it
                chain._unusual(tally, index, {at}, outcome, step_cell)
                continue
            try:
                record, keep_going = outcome
            except ValueError:
                keep_going = None
"""

_UNLESS_TRUE = """\
            if keep_going is not True:
                left[{at}] += 1
                if keep_going is False:
                    tally.bypass_at.append(len(tally.results))
                    append(record)
                else:
                    chain._unusual(tally, index, {at}, OUTCOME, step_cell)
                continue
"""

_UNLESS_TRUE_TO_ENCODE = """\
            if keep_going is not True:
                left[{at}] += 1
                chain._unusual(tally, index, {at}, OUTCOME, step_cell)
                continue
"""

_IF_DROPPED = """\
            if dropped:
                left[{at}] += 1
                spans[index] = 0
                tally.filtered += 1
                continue
"""


def _after(form: Form, *, encodes: bool) -> str:
    """What follows a call; a record that `encodes` passes over other steps goes on to the last one all the same."""
    unless_true = _UNLESS_TRUE_TO_ENCODE if encodes else _UNLESS_TRUE
    return {
        Form.ANY: _UNLESS_TUPLE + unless_true.replace("OUTCOME", "outcome"),
        Form.PAIR: unless_true.replace("OUTCOME", "(record, keep_going)"),
        Form.GOES_ON: "",
        Form.RECORD: "",
        Form.TRUTH: _IF_DROPPED,
    }[form]


class Loops:
    """The loops of one chain: `plain` for speed; `timed` also times each step, and says it to the cursor."""

    __slots__ = ("_made_of", "_steps", "cells", "plain", "timed")

    def __init__(self, steps: Sequence[Step], *, say_step: bool = False, encodes: bool = False) -> None:
        """Write them out.

        Args:
            steps: the chain's, one at least.
            say_step: let `plain` say each step to the cursor too, which costs as much again as the record's
                index: for runs whose records may be ended in the middle, so that the step is known.
            encodes: records that pass over the steps that follow do not pass over the last one.
        """
        self._steps = steps
        self._made_of = _made_of(steps)
        forms = [known(step) for step in steps]
        self.plain = _loop(forms, say=say_step, timed=False, encodes=encodes)
        self.timed = _loop(forms, say=True, timed=True, encodes=encodes)
        self.cells = [cell for loop in (self.plain, self.timed) for cell in _closure(loop)]

    def hold(self) -> bool:
        """Whether the steps still are what they were: code of a function may be replaced, and then counts."""
        now = _made_of(self._steps)
        return len(now) == len(self._made_of) and all(map(is_, now, self._made_of))


def _closure(loop: Any) -> tuple[CellType, ...]:
    """What a loop finds its steps in."""
    return loop.__closure__ or ()


def _made_of(steps: Sequence[Step]) -> list[object]:
    parts: list[object] = []
    for step in steps:
        parts += made_of(step)
    return parts


def _loop(forms: Sequence[tuple[Form, Step]], *, say: bool, timed: bool, encodes: bool) -> Loop:
    left_out = [mark for mark, wanted in ((" # say", say), (" # timed", timed)) if not wanted]
    body = "".join(
        _STEP.format(at=at, call=_CALLS[form].format(at=at)) + _after(form, encodes=encodes).format(at=at)
        for at, (form, _) in enumerate(forms)
    )
    source = _MAKE.format(
        steps=", ".join(f"step{at}" for at in range(len(forms))),
        body="\n".join(line for line in body.splitlines() if not any(mark in line for mark in left_out)),
    )
    names: dict[str, Any] = {"DROP": DROP, "GeneratorType": GeneratorType, "now": perf_counter_ns}
    calls = enumerate(source.splitlines(), start=1)
    names["STEP_AT"] = {line: int(call[1]) for line, text in calls if (call := _CALL.search(text))}
    exec(compile(source, UNROLLED, "exec"), names)
    loop: Loop = names["make"](*(call for _, call in forms))
    return loop
