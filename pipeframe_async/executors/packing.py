"""Records to bytes and replies to values, in the parent: the codec all executors share.

Whole batch first; record by record only after that has failed, so one bad record spoils nothing else.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from typing import Any

from pipeframe_async._worker import codec
from pipeframe_async.failures import failure_of
from pipeframe_async.model import AnyFailure, Child, Failure
from pipeframe_async.wire import Live, OutOfBand, Packed, Reply, WireFailure


class Packing:
    """The `contracts.Codec` that pickles on the loop: cheaper than in the pool's feeder thread, and it can blame.

    Args:
        out_of_band: whether large buffers may stand beside the pickle of a batch.
        live: hand over the records as they are, to a lane that is in this process.
    """

    def __init__(self, *, out_of_band: bool = False, live: bool = False) -> None:
        self._live = live
        self._out_of_band = out_of_band
        self._dumps: Callable[[object], bytes | OutOfBand] = codec.dumps_out_of_band if out_of_band else codec.dumps

    @property
    def live(self) -> bool:
        """Whether records are handed over as they are."""
        return self._live

    def pack(self, records: Sequence[Any], step: str, *, aside: bool = False) -> tuple[Packed, dict[int, AnyFailure]]:
        """One pickle for all records; frames and failures where that cannot be made."""
        if self._live:
            return Packed(len(records), codec.handed_over([*records])), {}
        try:
            return Packed(len(records), self._dumped_aside(records) if aside else self._dumps(records)), {}
        except BaseException:  # even SystemExit: a record's __reduce__ may do anything
            return self.pack_frames(records, step)

    def _dumped_aside(self, records: Sequence[Any]) -> memoryview | OutOfBand:
        if not self._out_of_band:
            return codec.dumps_aside(records)
        beside: list[pickle.PickleBuffer] = []
        data = codec.dumps_aside(records, beside)
        return OutOfBand(data, tuple(beside)) if beside else data

    def pack_frames(self, records: Sequence[Any], step: str) -> tuple[Packed, dict[int, AnyFailure]]:
        """A pickle for each record; an empty frame and a failure for each that has none."""
        frames: list[bytes] = []
        failures: dict[int, AnyFailure] = {}
        for index, record in enumerate(records):
            try:
                frames.append(codec.dumps(record))
            except BaseException as error:
                frames.append(b"")
                failures[index] = _unpicklable(record, step, error)
        return Packed(len(frames), tuple(frames)), failures

    def unpack(self, reply: Reply, step: str, *, aside: bool = False) -> tuple[list[Any], dict[int, AnyFailure]]:
        """The results of a reply, in order, and the failures of frames that cannot be read."""
        if reply.results is None:
            return [], {}
        loads = codec.loads_aside if aside else codec.loads
        if not isinstance(reply.results, tuple):
            return loads(reply.results), {}
        results: list[Any] = []
        failures: dict[int, AnyFailure] = {}
        for place, frame in enumerate(reply.results):
            try:
                results.append(loads(frame))
            except BaseException as error:
                failures[place] = _unpicklable(frame, step, error)
        return results, failures

    def record(self, frame: bytes) -> Any:
        """A record from its frame; the frame itself where it cannot be read."""
        return _original(frame)

    def failures(self, reply: Reply, names: Sequence[str]) -> list[tuple[int, AnyFailure]]:
        """The failures of a reply, each with its record's index, and with the record as it was fed."""
        records: dict[int, Any] = {}  # by the identity of their bytes: many children of one may have failed
        for failure in reply.failures:
            if id(failure.record) not in records:
                records[id(failure.record)] = _original(failure.record)
        return [(failure.at, _failure(failure, records[id(failure.record)], names)) for failure in reply.failures]


def _failure(failure: WireFailure, record: Any, names: Sequence[str]) -> AnyFailure:
    return Failure(
        record=record,
        step=names[failure.step],
        kind=failure.kind,
        error_type=failure.error_type,
        message=failure.message,
        traceback=failure.traceback,
        child=None if failure.child is None else Child(failure.child[0], _original(failure.child[1])),
        _raised=failure.raised,
    )


def _unpicklable(record: object, step: str, error: BaseException) -> AnyFailure:
    lost = failure_of(0, 0, error, "unpicklable")
    return Failure(record, step, lost.kind, lost.error_type, lost.message, lost.traceback, _raised=lost.raised)


def _original(data: bytes | Live | None) -> Any:
    """A failed record. One that failed because it cannot be read has no value here either: its bytes stand for it."""
    if data is None:
        return None
    if isinstance(data, Live):
        return data.values[0]
    try:
        return codec.loads(data)
    except BaseException:
        return data
