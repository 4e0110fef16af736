"""A value as frames of Dask's messages: one pickle, and large buffers beside it, of which nobody makes a copy.

Plain data, batches and replies. What stands in a value after a hop is a `memoryview`, which pickle refuses: it is
wrapped again before the next one.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

from distributed.protocol import to_serialize

from pipeframe_async.wire import OutOfBand

LARGE_BYTES = 16 * 1024
"""Buffers from here on stand beside the pickle. Smaller ones are copied sooner than a frame is made of them."""


def light(payload: Any) -> Any:
    """A payload of which what is large is not copied into the pickle."""
    if isinstance(payload, OutOfBand):
        return OutOfBand(light(payload.data), tuple(map(_wrapped, payload.buffers)))
    if isinstance(payload, (bytes, bytearray, memoryview)) and len(payload) > LARGE_BYTES:
        return pickle.PickleBuffer(payload)
    return bytes(payload) if isinstance(payload, memoryview) else payload


def _wrapped(buffer: Any) -> pickle.PickleBuffer:
    return buffer if isinstance(buffer, pickle.PickleBuffer) else pickle.PickleBuffer(buffer)


def dump(value: object) -> list[Any]:
    """The frames of a value."""
    parts: list[pickle.PickleBuffer] = []
    data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL, buffer_callback=parts.append)
    return [to_serialize(data), *(to_serialize(part.raw()) for part in parts)]


def load(frames: Sequence[Any]) -> Any:
    """The value of frames."""
    return pickle.loads(frames[0], buffers=[_writable(frame) for frame in frames[1:]])  # noqa: S301 - of our other end


def _writable(frame: Any) -> Any:
    """The memory of a frame, for who writes into an array as a step may; copied only where nobody may."""
    view = memoryview(frame)
    return bytearray(view) if view.readonly else view
