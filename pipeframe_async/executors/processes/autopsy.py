"""From a dead worker's remains to what one of its batches is told: which record it was at, and what is known of it.

Pure: comes in what was read, goes out a `Death`. Who is to blame is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping

from pipeframe_async._rules.overtime import EndedFor
from pipeframe_async._worker.lastlog import last_lines
from pipeframe_async._worker.postmortem import LastWords, read_words
from pipeframe_async.executors.processes.remains import Remains
from pipeframe_async.failures import OUR_ROOM
from pipeframe_async.wire import Death, Phase

FATAL = "Fatal Python error"
DUMP = "Stack (most recent call first)"
"""How a stack begins in what faulthandler writes, after an error and on a signal."""


def death_of(
    remains: Remains,
    ticket: int,
    records: int,
    *,
    who: str,
    ended_for: EndedFor | None = None,
    limits: Mapping[EndedFor, str] | None = None,
) -> Death:
    """What a worker's remains say of a batch it had.

    Args:
        remains: what was found.
        ticket: the batch's number, as the cursor has it.
        records: how many the batch had.
        who: the worker, for people.
        ended_for: why we have ended it, or None.
        limits: for each such reason, what to say of the record.
    """
    spot, cause = remains.spot, f"{who} died: {remains.ending}"
    if spot.batch != ticket or spot.phase is Phase.LOADING:
        return Death(cause, begun=False)
    late = ended_for is EndedFor.TIME_LIMIT and remains.sought and spot.phase is not Phase.IDLE
    if ended_for is not None and (late or ended_for is not EndedFor.TIME_LIMIT):
        cause = (limits or {}).get(ended_for, cause)
    words = _last_words(remains, ticket) if late else None
    death = Death(
        cause,
        kind="timeout" if late else "crashed",
        foreign=remains.foreign if ended_for is None else not _for_its_own(ended_for, remains),
        stack=words.stack if words is not None else _stack(remains.stack, fatal=not late),
        log=last_lines(remains.log, ticket, spot.at if spot.end is None else None),
    )
    if spot.at is None:
        ran = 0 if spot.phase is Phase.READING else records
        return death._replace(whole=spot.phase is not Phase.IDLE, ran=ran)
    done = words.done if words is not None else None
    saved = 0 if done is None else done.first + done.records
    behind = spot.at + 1 if spot.end is None else spot.end
    ran = spot.at - saved + max(0, (spot.begun or 0) - behind)
    return death._replace(at=spot.at, end=spot.end, step=spot.step, ran=ran, done=done)


CAUSES = {
    EndedFor.TIME_LIMIT: "time_limit",
    EndedFor.ABANDONED: "abandoned",
    EndedFor.MEMORY: "memory",
    EndedFor.OVERDUE: "abandoned",
    EndedFor.NOT_BEGUN: "crashed",
}
"""What the reasons are called where restarts are counted."""


def cause_of(remains: Remains, ended_for: EndedFor | None, *, worn: bool) -> str:
    """Why a worker was replaced, in a word, as `WorkerStats.restarts` has them."""
    if ended_for is not None:
        return CAUSES[ended_for]
    return "worn" if worn else "killed" if remains.foreign else "crashed"


def _for_its_own(ended_for: EndedFor, remains: Remains) -> bool:
    """Whether the record it was at is the one it was ended for, and not the next one, it having gone on just then."""
    return ended_for in (EndedFor.TIME_LIMIT, EndedFor.MEMORY) and remains.sought


def _last_words(remains: Remains, ticket: int) -> LastWords | None:
    """What the worker said about the batch before it ended, where it could."""
    try:
        return read_words(remains.words, ticket)
    except Exception:  # it was ended while it wrote
        return None


def _stack(text: str, *, fatal: bool) -> str:
    """The last stack that faulthandler wrote, without this library's frames. Earlier ones are of records that went on.

    `fatal`: only one that was written because of an error: a worker that was killed has written none.
    """
    begin = text.rfind(FATAL if fatal else DUMP)
    if begin < 0:
        return ""
    lines = text[begin:].splitlines(keepends=True)
    ours = next((at for at, line in enumerate(lines) if OUR_ROOM in line), len(lines))
    return "".join(lines[:ours])
