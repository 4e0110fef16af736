"""Where a batch feed's records wait when the buffer is full: an unnamed temporary file, one pickle a record.

They go from disk to a worker as the bytes they are. This process makes records of them only where it needs them itself:
for a key, for async steps that come first, for another attempt, and for the failures of those that fail. Written to its
end first, then read to its end; the file has no name and is gone when it is closed. What is less than a block is never
written.

Threads: records are put and taken on the loop, and a thread of its own moves whole blocks, one at a time: a disk that
is slow holds up the feed and the lanes, and nobody else on the loop.
"""

from __future__ import annotations

import asyncio
import struct
import tempfile
from array import array
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import IO

from pipeframe_async._engine.aside import DaemonThread
from pipeframe_async.contracts import Codec
from pipeframe_async.errors import FeedError
from pipeframe_async.model import AnyFailure
from pipeframe_async.wire import Packed

BLOCK_BYTES = 2**20
"""Frames that are written and read at once, unless one record alone is larger. Fewer cost more trips to the thread,
0.1 ms each; more only add memory."""
_HEAD = struct.Struct("<Q")
"""Frames of a block; the length of each follows, and then they."""
_NO_BYTES = -1
"""The length that stands for a record that could not be pickled; its failure waits in memory."""


class Spill:
    """A queue of records on disk.

    Args:
        codec: makes the bytes.
        step: the step the records are bound for, for the failures of those that have no bytes.
        moved: called when the thread has moved a block: there may be more to take now.
    """

    def __init__(self, codec: Codec, step: str, moved: Callable[[], object]) -> None:
        self._codec = codec
        self._step = step
        self._moved = moved
        self._last = _Block()  # put, and not written
        self._first = _Block()  # read, and not taken
        self._rejected: deque[AnyFailure] = deque()
        self._records = 0
        self._on_disk = 0  # blocks
        self._disk = _Disk()
        self._moving: asyncio.Future[_Block | None] | None = None
        self._error: BaseException | None = None

    def __len__(self) -> int:
        return self._records

    def put(self, record: object) -> None:
        """Append one record; it is in memory until it is written."""
        packed, failures = self._codec.pack_frames([record], self._step)
        assert isinstance(packed.data, tuple)
        self._last.put(None if failures else packed.data[0])
        self._rejected.extend(failures.values())
        self._records += 1

    @property
    def full(self) -> bool:
        """Whether a block should be written before more is put."""
        return self._last.nbytes >= BLOCK_BYTES

    async def write(self) -> None:
        """Write what was put.

        Raises:
            FeedError: the file could not be made, or written to: what was put is lost.

        Cancellation: the thread goes on with it.
        """
        block, self._last = self._last, _Block()
        self._on_disk += 1
        # Meanwhile the feed stands still. A stop may have ended it: then lanes look, and those wait that want to read.
        await asyncio.wait([self._move(partial(self._disk.write, block))])
        self._look()

    def take(self, records: int, room_bytes: int, *, alone: bool = False) -> tuple[Packed, dict[int, AnyFailure]]:
        """Remove the next records: their frames, empty for those without, and by index the failures of those.

        None where the next ones have to be read first: `moved` is called when they were.

        Args:
            records: at most so many.
            room_bytes: and not more than so many bytes of frames.
            alone: but one of them, however large.

        Raises:
            FeedError: the file could not be read, or what was written last had no room.
        """
        self._look()
        if not self._first:
            if self._read():
                return Packed(0, ()), {}
            self._first, self._last = self._last, self._first
        first, frames, failures = self._first, list[bytes](), dict[int, AnyFailure]()
        left = max(room_bytes, first.next_bytes) if alone else room_bytes
        while first and len(frames) < records and first.next_bytes <= left:
            frame, failed = first.take()
            if failed:
                failures[len(frames)] = self._rejected.popleft()
            frames.append(frame)
            left -= len(frame)
        self._records -= len(frames)
        if not first:
            self._read()  # it comes while what was taken is worked on
        return Packed(len(frames), tuple(frames)), failures

    @property
    def moving(self) -> bool:
        """Whether the thread is at work."""
        return self._moving is not None

    def _read(self) -> bool:
        """Have the next block read, unless the thread is at work. False where there is none."""
        if not self.moving and self._on_disk:
            self._on_disk -= 1
            _ = self._move(self._disk.read)
        return self.moving

    def _move(self, call: Callable[[], _Block | None]) -> asyncio.Future[_Block | None]:
        """Have the thread do it; what comes of it is looked at on the loop, whoever waits for it or not."""
        self._moving = asyncio.get_running_loop().run_in_executor(self._disk.thread, call)
        self._moving.add_done_callback(self._has_moved)
        return self._moving

    def _has_moved(self, moving: asyncio.Future[_Block | None]) -> None:
        self._moving = None
        if moving.cancelled() or not self._records:  # nobody wants it any more
            return
        if (error := moving.exception()) is not None:
            self._error = error
        elif (block := moving.result()) is not None:
            self._first = block
        self._moved()

    def _look(self) -> None:
        if self._error is not None:
            raise FeedError(
                f"records of a batch feed beyond what memory may hold could not be kept in a temporary file in "
                f"{_directory()}: {self._error}. Make room there, name another place by TMPDIR, give a larger "
                'buffer_size or buffer_bytes, or write source="stream", which needs no file'
            ) from self._error

    def close(self) -> None:
        """Give the disk space back: now, or when the thread has ended what it is at."""
        self._first, self._last, self._error = _Block(), _Block(), None
        self._records = self._on_disk = 0
        self._disk.close(now=not self.moving)


class _Block:
    """Frames that are written and read at once."""

    def __init__(self) -> None:
        self._frames: deque[bytes | None] = deque()  # None: a record without bytes
        self.nbytes = 0

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def next_bytes(self) -> int:
        """Bytes of the first frame."""
        return len(self._frames[0] or b"") if self._frames else 0

    def put(self, frame: bytes | None) -> None:
        """Append one."""
        self._frames.append(frame)
        self.nbytes += len(frame or b"")

    def take(self) -> tuple[bytes, bool]:
        """Remove the first one; and whether it has no bytes."""
        frame = self._frames.popleft()
        self.nbytes -= len(frame or b"")
        return frame or b"", frame is None

    def write(self, file: IO[bytes]) -> None:
        """Write it."""
        lengths = array("q", (_NO_BYTES if frame is None else len(frame) for frame in self._frames))
        file.write(_HEAD.pack(len(lengths)) + lengths.tobytes())
        file.writelines(frame for frame in self._frames if frame)
        file.flush()

    @classmethod
    def read(cls, file: IO[bytes]) -> _Block:
        """Read the next one."""
        block, lengths = cls(), array("q")
        (count,) = _HEAD.unpack(file.read(_HEAD.size))
        lengths.frombytes(file.read(count * lengths.itemsize))
        for length in lengths:
            block.put(None if length == _NO_BYTES else file.read(length))
        return block


class _Disk:
    """The file. Only its thread touches it, and `close` where that is idle."""

    def __init__(self) -> None:
        self.thread = DaemonThread("pipeframe-spill")
        self._file: IO[bytes] | None = None
        self._reading = False

    def write(self, block: _Block) -> None:
        """Append a block."""
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="pipeframe-spill-")  # noqa: SIM115 - closed by close()
        block.write(self._file)

    def read(self) -> _Block:
        """The next block."""
        assert self._file is not None
        if not self._reading:
            self._file.seek(0)
            self._reading = True
        return _Block.read(self._file)

    def close(self, *, now: bool) -> None:
        """Close the file: `now`, or in the thread, which is at work."""
        if now:
            self._close()
        else:
            self.thread.submit(self._close)
        self.thread.shutdown()

    def _close(self) -> None:
        if self._file is not None:
            with suppress(OSError):  # what it still had to write is not wanted any more; it is closed all the same
                self._file.close()
        self._file = None


def _directory() -> str:
    """Where temporary files go; a host may have no such place."""
    try:
        return tempfile.gettempdir()
    except OSError:
        return "any directory"
