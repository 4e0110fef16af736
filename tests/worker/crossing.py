"""A batch there and back: what the engine does with a codec and a lane, without loop and process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pipeframe_async._worker import envelope
from pipeframe_async.executors.packing import Packing
from pipeframe_async.executors.shipping import ship
from pipeframe_async.model import AnyFailure
from pipeframe_async.steps import step_name
from pipeframe_async.wire import UNREADABLE, ChainRef, ChainSpec, Packed, Reply


def shipped(*steps: Callable[[Any], Any], pipeline: Any = None) -> ChainRef:
    return ship(ChainSpec(tuple(map(step_name, steps)), steps, pipeline))


def work(chain: ChainRef, batch: Packed, *, wanted: bool = True, number: int = 0) -> Reply:
    return envelope.work(chain.key, chain.data, number, batch.data, wanted)


@dataclass
class Crossed:
    """What came back. Failures by the index of their record; `rejected` ones never left."""

    reply: Reply
    results: list[Any]
    failures: list[tuple[int, AnyFailure]]
    framed: bool


def cross(chain: ChainRef, records: Sequence[Any], *, framed: bool = False) -> Crossed:
    """Pack, work, unpack; again in frames where the batch or its results could not be read as a whole."""
    codec = Packing()
    packed, rejected = (codec.pack_frames if framed else codec.pack)(records, "first")
    places = [index for index in range(len(records)) if index not in rejected]
    reply = work(chain, packed)
    if reply.fault is not None and reply.fault.kind == UNREADABLE and not packed.framed:
        return cross(chain, records, framed=True)
    assert reply.fault is None, reply.fault
    assert reply.records == packed.records
    assert reply.records + reply.emitted == reply.delivered + reply.filtered + len(reply.failures)
    try:
        results, unread = codec.unpack(reply, "last")
    except BaseException:
        assert not packed.framed
        return cross(chain, records, framed=True)
    assert len(reply.owners()) == reply.delivered == len(results) + len(unread)
    names = [f"step {position}" for position in range(len(reply.steps))]
    failures = [(places[index], failure) for index, failure in codec.failures(reply, names)]
    failures += [(places[reply.owners()[at]], failure) for at, failure in unread.items()]
    failures += rejected.items()
    return Crossed(reply, results, sorted(failures, key=lambda pair: pair[0]), packed.framed)
