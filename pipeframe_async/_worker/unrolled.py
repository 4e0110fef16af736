"""The hot loop over a batch, written out for its steps: source made once a chain, where a loop over them would
cost a quarter of a trivial record (`benchmarks/overhead.py`).

Comes in: records. Goes out: results appended to the tally, and how many records went no further than each step.
It settles `(record, True)` and `(record, False)` itself; all else is the chain's to judge. No text of the user's
gets into the source: only the number of steps does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

HotLoop = Callable[[Any, Any, int, Sequence[Any], Any], list[int]]

_MAKE = """\
def make({steps}):
    def loop(chain, tally, first, records, cells):
        append = tally.results.append
        {lefts} = {zeros}
        for index, record in enumerate(records, first):
            cells[1] = index
{body}
            append(record)
        return [{lefts}]
    return loop
"""

# A try around the call alone: it costs nothing until a step raises, and then it is known which one it was.
_STEP = """\
            try:
                outcome = step{at}(record)
            except BaseException as error:
                left{at} += 1
                chain._fail(tally, index, {at}, error)
                continue
            if type(outcome) is not tuple:
                left{at} += 1
                chain._unusual(tally, index, {at}, outcome, cells)
                continue
            try:
                record, keep_going = outcome
            except ValueError:
                keep_going = None
            if keep_going is not True:
                left{at} += 1
                if keep_going is False:
                    tally.bypass_at.append(len(tally.results))
                    append(record)
                else:
                    chain._unusual(tally, index, {at}, outcome, cells)
                continue"""


_SAY = """\
            cells[2] = {at}
"""


def unrolled(steps: Sequence[Callable[[Any], Any]], *, say_step: bool = False) -> HotLoop:
    """The loop for these steps: `loop(chain, tally, first, records, cells)`.

    Args:
        steps: the chain's, one at least.
        say_step: also write each step to the cursor, which costs as much again as the record's index: for
            runs whose records may be ended in the middle, so that the step is known.

    Returns:
        A function that takes each record through the steps and returns how many went no further than each.
    """
    ats = range(len(steps))
    source = _MAKE.format(
        steps=", ".join(f"step{at}" for at in ats),
        lefts=", ".join(f"left{at}" for at in ats) + ",",
        zeros="(" + "0, " * len(steps) + ")",
        body="\n".join((_SAY if say_step else "").format(at=at) + _STEP.format(at=at) for at in ats),
    )
    names: dict[str, Any] = {}
    exec(compile(source, __file__, "exec"), names)
    loop: HotLoop = names["make"](*steps)
    return loop
