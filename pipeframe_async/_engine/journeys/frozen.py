"""Values kept as they are, in bytes: steps on the loop get the program's own objects, and may change them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipeframe_async.contracts import Codec
from pipeframe_async.shared import Shared
from pipeframe_async.wire import Reply

AS_IT_IS = frozenset({str, bytes, int, float, bool, complex, type(None), Shared})
"""Types whose values no step can change."""


@dataclass(frozen=True, slots=True)
class Frozen:
    """A value as it was: its bytes."""

    frame: bytes


def freeze(value: Any, codec: Codec, step: str) -> Any:
    """A value kept from changes; itself where nothing can change it, or where its bytes could not bring it back.

    Args:
        value: what a step may change.
        codec: makes the bytes.
        step: that will get it, for messages nobody sees.
    """
    if type(value) in AS_IT_IS or isinstance(value, Frozen):
        return value
    packed, rejected = codec.pack_frames([value], step)
    if rejected or not isinstance(packed.data, tuple):
        return value
    _, unread = codec.unpack(Reply(1, results=packed.data), step)
    return value if unread else Frozen(packed.data[0])


def thaw(value: Any, codec: Codec) -> Any:
    """It, as it was; its bytes where they cannot be read."""
    return codec.record(value.frame) if isinstance(value, Frozen) else value
