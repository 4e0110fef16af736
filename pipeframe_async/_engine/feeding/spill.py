"""Where a batch feed's records wait when the buffer is full: an unnamed temporary file, one pickle a record.

They go from disk to a worker as the bytes they are. This process makes records of them only where it needs them itself:
for a key, for async steps that come first, and for the failures of those that fail. Written to its end first, then read
to its end; the file has no name and is gone when it is closed.

Runs on the loop, which waits for the disk.
"""

from __future__ import annotations

import struct
import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

from pipeframe_async._rules.cutting import too_large
from pipeframe_async.contracts import Codec
from pipeframe_async.errors import FeedError
from pipeframe_async.model import AnyFailure
from pipeframe_async.wire import Packed

_LENGTH = struct.Struct("<q")
_NO_BYTES = -1
"""The length that stands for a record that could not be pickled; its failure waits in memory."""


class Spill:
    """A queue of records on disk.

    Args:
        codec: makes the bytes.
        step: the step the records are bound for, for the failures of those that have no bytes.
        most_bytes: most a record may have.
    """

    def __init__(self, codec: Codec, step: str, most_bytes: int) -> None:
        self._codec = codec
        self._step = step
        self._most_bytes = most_bytes
        self._length: int | None = None  # of the next record, where it was read and the record was not taken
        self._file: IO[bytes] | None = None
        self._rejected: deque[AnyFailure] = deque()
        self._reading = False
        self._records = 0

    def __len__(self) -> int:
        return self._records

    def put(self, record: object) -> None:
        """Append one record.

        Raises:
            FeedError: the file could not be made, or written to.
        """
        packed, failures = self._codec.pack_frames([record], self._step)
        if packed.nbytes > self._most_bytes:
            failures[0] = too_large(record, self._step, packed.nbytes, self._most_bytes)
            packed = Packed(1, (b"",))
        assert isinstance(packed.data, tuple)
        (frame,) = packed.data
        with self._blamed("written to"):
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="pipeframe-spill-")  # noqa: SIM115 - closed by close()
            self._file.write(_LENGTH.pack(_NO_BYTES if failures else len(frame)))
            self._file.write(frame)
        self._rejected.extend(failures.values())
        self._records += 1

    def take(self, records: int, room_bytes: int) -> tuple[Packed, dict[int, AnyFailure]]:
        """Remove the next records: their frames, empty for those without, and by index the failures of those.

        Args:
            records: at most so many.
            room_bytes: and not more than so many bytes of frames.

        Raises:
            FeedError: the file could not be read; what was written last may only now be found to have no room.
        """
        with self._blamed("read from"):
            return self._take(records, room_bytes)

    def _take(self, records: int, room_bytes: int) -> tuple[Packed, dict[int, AnyFailure]]:
        assert self._file is not None
        if not self._reading:
            self._file.seek(0)
            self._reading = True
        frames: list[bytes] = []
        failures: dict[int, AnyFailure] = {}
        for index in range(min(records, self._records)):
            length = self._next_length()
            if length == _NO_BYTES:
                failures[index] = self._rejected.popleft()
                frames.append(b"")
            elif (room_bytes := room_bytes - length) >= 0:
                frames.append(self._file.read(length))
            else:
                break
            self._length = None
        self._records -= len(frames)
        return Packed(len(frames), tuple(frames)), failures

    def _next_length(self) -> int:
        if self._length is None:
            assert self._file is not None
            (self._length,) = _LENGTH.unpack(self._file.read(_LENGTH.size))
        return self._length

    def close(self) -> None:
        """Give the disk space back."""
        if self._file is not None:
            with suppress(OSError):  # what it still had to write is not wanted any more; it is closed all the same
                self._file.close()
        self._file, self._records = None, 0

    @contextmanager
    def _blamed(self, what: str) -> Iterator[None]:
        """Say which file it was, and what to do: the machine's fault is nobody else's."""
        try:
            yield
        except OSError as error:
            raise FeedError(
                f"records of a batch feed beyond buffer_size could not be {what} a temporary file in "
                f"{_directory()}: {error}. Make room there, name another place by TMPDIR, give a larger "
                'buffer_size, or write source="stream", which needs no file'
            ) from error


def _directory() -> str:
    """Where temporary files go; a host may have no such place."""
    try:
        return tempfile.gettempdir()
    except OSError:
        return "any directory"
