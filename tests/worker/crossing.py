"""A batch there and back: what the engine does with a codec and a lane, without loop and process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from pipeframe_async._rules.blame import Inquest
from pipeframe_async._worker import envelope
from pipeframe_async.executors.packing import Packing
from pipeframe_async.executors.shipping import ship
from pipeframe_async.model import AnyFailure
from pipeframe_async.steps import step_name
from pipeframe_async.wire import UNREADABLE, ChainRef, ChainSpec, Packed, Reply


def shipped(*steps: Callable[[Any], Any], pipeline: Any = None) -> ChainRef:
    return ship(ChainSpec(tuple(map(step_name, steps)), steps, pipeline))


def work(chain: ChainRef, batch: Packed, *, wanted: bool = True, number: int = 0) -> Reply:
    return envelope.work(chain.key, chain.data, number, batch.data, wanted, batch.span)


@dataclass
class Crossed:
    """What came back. Failures by the index of their record; rejected records never left."""

    replies: list[Reply]
    results: list[Any]
    failures: list[tuple[int, AnyFailure]]
    framed: bool

    @property
    def reply(self) -> Reply:
        """The one reply, of a batch that went in one part."""
        (reply,) = self.replies
        return reply


def cross(chain: ChainRef, records: Sequence[Any], *, framed: bool = False) -> Crossed:
    """Pack, work, unpack; again in frames where the batch or its results could not be read as a whole."""
    codec = Packing()
    packed, rejected = (codec.pack_frames if framed else codec.pack)(records, "first")
    assert packed.records == len(records)
    crossed = Crossed([], [], list(rejected.items()), packed.framed)
    inquest = Inquest(len(records), frozenset(rejected))
    while (part := inquest.stretch) is not None:
        reply = work(chain, packed if part == (0, len(records)) else packed.stretch(*part))
        if reply.refusal is not None and reply.refusal.kind == UNREADABLE and not packed.framed:
            return cross(chain, records, framed=True)
        assert reply.refusal is None, reply.refusal
        assert reply.records == part[1] - part[0]
        assert reply.records + reply.emitted == reply.delivered + reply.filtered + len(reply.failures)
        try:
            results, unread = codec.unpack(reply, "last")
        except BaseException:
            assert not packed.framed
            return cross(chain, records, framed=True)
        assert len(reply.owners()) == reply.delivered == len(results) + len(unread)
        names = [f"step {position}" for position in range(len(reply.steps))]
        crossed.replies.append(reply)
        crossed.results += results
        crossed.failures += [(part[0] + place, failure) for place, failure in codec.failures(reply, names)]
        crossed.failures += [(part[0] + reply.owners()[at], failure) for at, failure in unread.items()]
        inquest.answered()
    crossed.failures.sort(key=itemgetter(0))
    return crossed
