"""An object as a file: its pickle, then its buffers, each of which can be used in place.

    token | pickle | … buffer … buffer | (offset, length) of each | (how many, length of the pickle)

Comes in: any value that can be pickled, or memory that has such a file. Goes out: the descriptor of one without a name,
or the value. Who finds it there, this does not know.
"""

from __future__ import annotations

import io
import os
import pickle
import struct
import sys
from types import FunctionType
from typing import Any, BinaryIO

from pipeframe_async import unnamed
from pipeframe_async.unnamed import TOKEN_BYTES

PROTOCOL = 5
"""The first one with buffers beside a pickle."""
ALIGNMENT = 64
"""Bytes: a cache line, and the widest vector there is. Arrays at less are slower, and refused by some libraries."""

Names = tuple[Any, ...]
"""The classes and functions that a pickle names. They go with the handle, so that a worker has those that it cannot
import, as it has those of steps, and a cluster's workers are asked for the modules they are in."""

_ROW = struct.Struct("<QQ")


class _Noting(pickle.Pickler):
    """A pickler that notes what it names, and hands its buffers out."""

    def __init__(self, file: Any) -> None:
        self.buffers: list[pickle.PickleBuffer] = []
        self._names: dict[int, Any] = {}
        super().__init__(file, PROTOCOL, buffer_callback=self.buffers.append)

    def reducer_override(self, obj: object) -> Any:
        if isinstance(obj, (type, FunctionType)) and obj.__module__ not in sys.builtin_module_names:
            self._names[id(obj)] = obj
        return NotImplemented

    @property
    def names(self) -> Names:
        return tuple(self._names.values())


def parts(value: object) -> tuple[Names, bytes, list[bytes]]:
    """Names, pickle and buffers; those are `bytes`, so that nobody can write to them either."""
    stream = io.BytesIO()
    pickler = _Noting(stream)
    pickler.dump(value)
    return pickler.names, stream.getvalue(), [bytes(buffer.raw()) for buffer in pickler.buffers]


def write(token: bytes, value: object) -> tuple[int, Names]:
    """A file that has it, and the names in it. No copy is made on the way there."""
    fd = unnamed.make(unnamed.SHARED)
    try:
        with open(fd, "wb", closefd=False) as file:
            file.write(token)
            pickler = _Noting(file)
            pickler.dump(value)
            size = file.tell() - TOKEN_BYTES
            rows = [_put(file, buffer) for buffer in pickler.buffers]
            for row in (*rows, (len(rows), size)):
                file.write(_ROW.pack(*row))
    except BaseException:
        os.close(fd)
        raise
    return fd, pickler.names


def _put(file: BinaryIO, buffer: pickle.PickleBuffer) -> tuple[int, int]:
    at = file.seek(-file.tell() % ALIGNMENT, os.SEEK_CUR)
    with buffer.raw() as view:
        file.write(view)
        return at, view.nbytes


def read(memory: memoryview) -> Any:
    """The object; its buffers are parts of this memory."""
    foot = len(memory) - _ROW.size
    count, size = _ROW.unpack_from(memory, foot)
    rows = _ROW.iter_unpack(memory[foot - count * _ROW.size : foot])
    buffers = [memory[at : at + length] for at, length in rows]
    data = memory[TOKEN_BYTES : TOKEN_BYTES + size]
    return pickle.loads(data, buffers=buffers)  # noqa: S301 - of a process that may as well send steps
