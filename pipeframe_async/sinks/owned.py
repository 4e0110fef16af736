"""A file that is one writer's alone: locked, written at its end, cut back, put in its place or taken from there.

Comes in: bytes. A write that fails leaves nothing of it behind. It knows nothing of lines.
"""

from __future__ import annotations

import base64
import os
import stat
from contextlib import suppress
from dataclasses import asdict, dataclass
from io import FileIO
from typing import Any, Final

from pipeframe_async.errors import CheckpointMismatch, StateError
from pipeframe_async.locks import locked

BLOCK: Final = 2**20
"""Bytes read at once while a torn tail is looked for."""
TAIL: Final = 48
"""Bytes before a spot by which a file is known again. Fewer are alike in more files, more make a state larger."""


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a file ended, and what came after it that was in no file.

    Attributes:
        size: bytes of the file.
        tail: the last of them, in base64.
        kind: what it is compressed with.
        pending: lines of a member that has not ended, as text.
    """

    size: int
    tail: str
    kind: str | None
    pending: str

    def as_json(self) -> dict[str, Any]:
        """As a state file has it."""
        return asdict(self)


def spot_of(position: Any, kind: str | None, path: str) -> Spot:
    """A spot from a state file.

    Raises:
        CheckpointMismatch: it is none of a file that is compressed so.
    """
    try:
        spot = Spot(**position)
    except TypeError:
        raise CheckpointMismatch(f"{position!r} is no position in {path}: it is another sink's") from None
    if spot.kind != kind:
        raise CheckpointMismatch(f"{path} was written by the job with compression={spot.kind!r}, and not {kind!r}")
    return spot


class Owned:
    """A file of this writer's alone, written at its end; a write that fails leaves nothing of it behind."""

    def __init__(self, path: str, name: str, fsync: str) -> None:
        self._fsync = fsync
        self._path = path
        self._file = _locked(path, name)
        self.size = os.fstat(self._file.fileno()).st_size

    def allow(self, mode: int) -> None:
        """Let those read and write it that may with this mode."""
        os.chmod(self._path, stat.S_IMODE(mode))

    def put(self, path: str) -> None:
        """It is there, and nobody's any more."""
        self.sync_at_end()
        self._before_it_is_moved()
        os.replace(self._path, path)  # another writer who has waited for the lock finds that it is gone
        self._file.close()

    def remove(self) -> None:
        """It is nowhere."""
        self._before_it_is_moved()
        with suppress(OSError):
            os.unlink(self._path)
        self._file.close()

    def take(self, path: str, spot: Spot) -> bool:
        """Become the file there, moved to this one's place, if it has what is before a spot; whether it has."""
        if not os.path.isfile(path):
            return False
        other = Owned(path, path, self._fsync)
        if not other.has(spot):
            other.close()
            return False
        other._before_it_is_moved()
        self._before_it_is_moved()
        os.replace(path, self._path)
        self._file.close()
        self._file = other._file if os.name != "nt" else _locked(self._path, path)
        self.size = other.size
        return True

    def _before_it_is_moved(self) -> None:
        if os.name == "nt":  # where one that is open stays where it is
            self._file.close()

    def cut(self, size: int, aside: str | None = None) -> None:
        """Keep so many bytes of it; `aside`: the file to whose end the others are put."""
        if aside is not None:
            with open(aside, "ab") as file:
                os.chmod(aside, stat.S_IMODE(os.fstat(self._file.fileno()).st_mode))
                for at in range(size, self.size, BLOCK):
                    file.write(self.part(at, min(BLOCK, self.size - at)))
                file.flush()
                os.fsync(file.fileno())
        self._file.truncate(size)
        self.size = size

    def read(self, at: int) -> bytes:
        """The bytes there, some of them."""
        self._file.seek(at)
        return self._file.read(BLOCK) or b""

    def spot(self, **more: Any) -> Spot:
        """Its end; after this it survives the machine, unless nobody wants that."""
        self.sync_at_end()
        return Spot(self.size, self._tail(self.size), **more)

    def has(self, spot: Spot) -> bool:
        """Whether it has what was before a spot; of that the last bytes are looked at."""
        return self.size >= spot.size and self._tail(spot.size) == spot.tail

    def _tail(self, size: int) -> str:
        at = max(0, size - TAIL)
        return base64.b64encode(self.part(at, size - at)).decode()

    def part(self, at: int, size: int) -> bytes:
        """So many bytes from there on; fewer at its end."""
        self._file.seek(at)
        return self._file.read(size) or b""

    def append(self, data: bytes) -> None:
        """Write all of it, or none."""
        if not data:
            return
        left = memoryview(data)
        try:
            while left:
                left = left[self._file.write(left) or 0 :]
        except BaseException as error:
            with suppress(OSError):
                self._file.truncate(self.size)
            if isinstance(error, OSError) and error.filename is None:
                error.filename = self._path
            raise
        self.size += len(data)
        if self._fsync == "write":
            self.sync()

    def sync(self) -> None:
        """To the disk."""
        os.fsync(self._file.fileno())

    def sync_at_end(self) -> None:
        """To the disk, unless nobody wants that."""
        if self._fsync != "never":
            self.sync()

    def close(self) -> None:
        """It is nobody's any more."""
        self._file.close()


def _locked(path: str, name: str) -> FileIO:
    """A file that is this writer's alone; it may be moved away by the one before just as it is opened."""
    while True:
        file = FileIO(path, "a+")
        try:
            if not locked(file):
                raise StateError(f"{name} is being written by another run or process")
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                    return file
        except BaseException:
            file.close()
            raise
        file.close()


def sync_directory(path: str, fsync: str) -> None:
    """So that the new name survives the machine, where it has directories that can be synced."""
    if fsync == "never":
        return
    with suppress(OSError):
        directory = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
