"""`Lines` and `JsonLines`: the lines of files, as text or as what JSON says.

They are read in the feed's thread, a block at a time, and decoded in the workers.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from pipeframe_async.compression import kind_of
from pipeframe_async.errors import ConfigError
from pipeframe_async.feeds import reading
from pipeframe_async.feeds.places import Place, Progress, place_of, places, places_from
from pipeframe_async.feeds.splitting import Splitter, TooLong, Unmarked
from pipeframe_async.model import Chunk
from pipeframe_async.text_files import encoding_of

MAX_LINE = 16 * 2**20
"""Bytes of a line. Shorter would refuse rows with a picture in them; longer lets one line take a worker's memory."""
MAX_EXPANSION = 200.0
"""Bytes that a compressed file may yield for each it has. Logs reach 10 to 50; bombs 1,000 and more."""


class Lines:
    """The lines of files, as `str`: `feed = Lines("logs/*.log.gz")`.

    Files are read one after the other, while the steps work: a pipeline that does not say otherwise streams, without an
    idle timeout. A line that cannot be decoded is that record's failure, with its bytes as the record; so is one that
    is too long, with a `TooLong`. A last line without a newline is a line. A byte order mark is passed over.

    Args:
        paths: paths, globs (the files in order of their names; `**` goes into directories), or `-` for standard input
            from where it stands. (A program that has read a line of a pipe by `sys.stdin` has more in its memory: there
            `feed=sys.stdin` goes on.)
        encoding: of the text, one in which a newline is the byte 10.
        compression: `"infer"` by the end of each path (.gz, .bz2, .xz; .zst with the extra `files`), None, or
            `"gzip"`, `"bzip2"`, `"xz"`, `"zstd"`, for standard input for instance.
        max_line: bytes of a line, ≥ 1; of a longer one no more than that is ever in memory.
        max_expansion: bytes that a compressed file may yield for each it has, beyond the first 64 MiB; one that goes
            over it ends the feed with an error that names it. None: any number.

    Raises:
        ConfigError: a value is wrong.

    Process: files are read in a thread of the parent; `decode` runs in the workers.
    """

    streams = True
    files: reading.Files = reading.Local()  # where they are; `Objects` has others

    def __init__(
        self,
        *paths: str | os.PathLike[str],
        encoding: str = "utf-8",
        compression: str | None = "infer",
        max_line: int = MAX_LINE,
        max_expansion: float | None = MAX_EXPANSION,
    ) -> None:
        if not paths:
            raise ConfigError(f"{type(self).__name__}() has no paths: give one, a glob, or '-' for standard input")
        self.paths = tuple(os.fspath(path) for path in paths)
        self._compression = compression
        for path in self.paths:
            kind_of(path, compression)
        self._encoding, _ = encoding_of(encoding)  # the mark is passed over where there is one
        self._max_line = _positive("max_line", max_line)
        self._max_expansion = max_expansion if max_expansion is None else _positive("max_expansion", max_expansion)
        self._from: Iterator[Place] | None = None  # what the next iteration begins with
        self._now: Callable[[], Place] | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.paths))})"

    @property
    def decode(self) -> Callable[[Any], Any]:
        """Bytes of a line to its text, without a carriage return at its end."""
        return _text if self._encoding == "utf-8" else partial(_text, encoding=self._encoding)

    @property
    def position(self) -> dict[str, Any] | None:
        """Where it is, behind what it has yielded last; None before that, and in what cannot be read again, as a pipe.

        To be asked for while it stands at a `yield`, and of one iteration at a time.
        """
        return None if self._now is None else self._now().as_json()

    def seek(self, position: dict[str, Any]) -> None:
        """Have the next iteration begin there; the files of globs are looked for again, and those before passed over.

        Raises:
            CheckpointMismatch: the file is not there any more, or is shorter. Of a compressed file that is found as it
                is iterated: it is decompressed again, from its beginning.
        """
        place = place_of(position)
        stored = kind_of(place.path, self._compression) is None
        size = self.files.size if stored else self._unknown
        self._from = places_from(place, self.files, self.paths, size)

    def _unknown(self, path: str) -> None:
        """How many bytes a compressed file has when it is not; that it is there is looked at."""
        self.files.size(path)

    def __iter__(self) -> Iterator[Chunk[Any]]:
        begins, self._from = self._from or places(self.files, self.paths), None
        for place in begins:
            yield from self._of_file(place)

    def _of_file(self, place: Place) -> Iterator[Chunk[Any]]:
        splitter = Splitter(place.path, self._max_line, lines=place.lines)
        blocks = self._blocks(place)
        self._stand(place, splitter, blocks)
        for block in blocks:
            yield Chunk(self._wanted(splitter.split(block)))
        yield Chunk(self._wanted(splitter.end()))

    def _stand(self, place: Place, progress: Progress, blocks: Iterable[bytes]) -> None:
        """From here on the position is what `progress` says when it is asked for."""

        def now() -> Place:
            return place.moved(progress, blocks.passed if isinstance(blocks, Unmarked) else 0)

        self._now = now if self.files.lasts(place.path) else None

    def _blocks(self, place: Place) -> Iterable[bytes]:
        kind = kind_of(place.path, self._compression)
        blocks = self.files.blocks(place.path, kind, self._max_expansion, place.at)
        return Unmarked(blocks) if self._encoding == "utf-8" and not place.at else blocks

    def _wanted(self, lines: list[bytes | TooLong]) -> list[Any]:
        """The lines that are records."""
        return lines


class JsonLines(Lines):
    """Files with a JSON value in each line: `feed = JsonLines("in/*.jsonl.gz")`.

    As `Lines`; empty lines are passed over. A line that is no JSON is that record's failure, with its bytes as the
    record.

    Args:
        paths, encoding, compression, max_line, max_expansion: as `Lines`.

    Raises:
        ConfigError: as `Lines`.

    Process: as `Lines`; JSON is read in the workers.
    """

    @property
    def decode(self) -> Callable[[Any], Any]:
        """Bytes of a line to what they say."""
        return _value if self._encoding == "utf-8" else partial(_value, encoding=self._encoding)

    def _wanted(self, lines: list[bytes | TooLong]) -> list[Any]:
        return [line for line in lines if not isinstance(line, bytes) or (line and not line.isspace())]


def _text(raw: bytes | TooLong, encoding: str = "utf-8") -> str:
    if isinstance(raw, TooLong):
        raise raw.refused()
    return str(raw, encoding).removesuffix("\r")


def _value(raw: bytes | TooLong, encoding: str = "utf-8") -> Any:
    if isinstance(raw, TooLong):
        raise raw.refused()
    return json.loads(str(raw, encoding))


def _positive(name: str, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 1:
        raise ConfigError(f"{name}={value!r}: must be a number of at least 1")
    return value
