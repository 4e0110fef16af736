"""Where in a pipeline the code stands that asks: at which record of its batch, in which step of which pipeline.

It is read off the stack, by whoever logs a line: a batch pays nothing for it.

Process: whoever runs a chain, a worker or the app. In a thread that a step has started nothing is found.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, NamedTuple, TypeVar

from pipeframe_async._worker.chain import Chain
from pipeframe_async._worker.vector import Group
from pipeframe_async.failures import UNROLLED
from pipeframe_async.wire import Positions

T = TypeVar("T")

_RUN = Chain.run.__code__
_CALLED = Group._called.__code__
_HOOKS = {Chain.setup.__code__: "setup", Chain.teardown.__code__: "teardown"}
_SAYS_STEP = frozenset({Chain._children.__code__, Chain._advance.__code__})
MOST_FRAMES = 1000
"""That are looked at, of a step that calls itself: then nothing is known, as where there is none."""


class Whereabouts(NamedTuple):
    """`at`: the index of the record in its batch, None where the step has many at once; `positions` and `worker`: as
    `placed` was told, in the app itself.
    """

    pipeline: str | None
    step: str | None
    at: int | None
    positions: Positions | None = None
    worker: str | None = None


def placed(positions: Positions | None, worker: str, work: Callable[..., T], *args: Any, **named: Any) -> T:
    """Call `work`; who asks for its whereabouts in there is told of the feed too, and of the `worker`: empty for a
    thread, which has a name.
    """
    return work(*args, **named)


_PLACED = placed.__code__


def whereabouts(depth: int = 1) -> Whereabouts | None:
    """Those of the caller; None where it is in no step, nor in `setup` or `teardown`, which stand for one.

    Args:
        depth: how many calls above this one it stands.
    """
    # Of this thread: the frames of others go on under whoever looks at them, and CPython 3.11 may crash.
    frame: FrameType | None = sys._getframe(depth)
    step: int | None = None
    found: Whereabouts | None = None
    for _ in range(MOST_FRAMES):
        if frame is None:
            break
        code = frame.f_code
        if found is not None:
            if code is _PLACED:
                told = frame.f_locals
                worker = told["worker"] or threading.current_thread().name
                return found._replace(positions=told["positions"], worker=worker)
        elif code is _RUN:
            found = _at(frame, step)
        elif code is _CALLED:
            found = _in_call(frame.f_locals)
        elif code in _HOOKS:
            found = Whereabouts(frame.f_locals["self"].pipeline_name or None, _HOOKS[code], None)
        elif step is None and code.co_filename == UNROLLED:
            step = frame.f_globals["STEP_AT"].get(frame.f_lineno)
        elif step is None and code in _SAYS_STEP:
            step = frame.f_locals["step_cell"][()]
        frame = frame.f_back
    return found


def _in_call(told: dict[str, Any]) -> Whereabouts:
    """What a call of a vectorized step knows."""
    group: Group = told["self"]
    return Whereabouts(group.pipeline_name or None, group.names[told["position"]], told["at"])


def _at(frame: FrameType, step: int | None) -> Whereabouts | None:
    """What the call that runs a batch knows; None where it does not yet."""
    told = frame.f_locals
    cell = told.get("index_cell")
    if cell is None:
        return None
    chain: Chain = told["self"]
    name = chain.names[step] if step is not None and step < len(chain.names) else None
    return Whereabouts(chain.pipeline_name or None, name, cell[()])
