"""`Lines` and `JsonLines`: the lines of files, as text or as what JSON says.

They are read in the feed's thread, a block at a time, and decoded in the workers.
"""

from __future__ import annotations

import codecs
import json
import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from pipeframe_async.compression import kind_of
from pipeframe_async.errors import ConfigError
from pipeframe_async.feeds import reading
from pipeframe_async.feeds.splitting import Splitter, TooLong, unmarked
from pipeframe_async.model import Chunk

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
        paths: paths, globs (the files in order of their names; `**` goes into directories), or `-` for standard input.
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
        self._encoding = _encoding(encoding)
        self._max_line = _positive("max_line", max_line)
        self._max_expansion = max_expansion if max_expansion is None else _positive("max_expansion", max_expansion)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.paths))})"

    @property
    def decode(self) -> Callable[[Any], Any]:
        """Bytes of a line to its text, without a carriage return at its end."""
        return _text if self._encoding == "utf-8" else partial(_text, encoding=self._encoding)

    def __iter__(self) -> Iterator[Chunk[Any]]:
        for path in self.files.found(self.paths):
            splitter = Splitter(path, self._max_line)
            for block in self._blocks(path):
                yield Chunk(self._wanted(splitter.split(block)))
            yield Chunk(self._wanted(splitter.end()))

    def _blocks(self, path: str) -> Iterator[bytes]:
        blocks = self.files.blocks(path, kind_of(path, self._compression), self._max_expansion)
        return unmarked(blocks) if self._encoding == "utf-8" else blocks

    def _wanted(self, lines: list[bytes | TooLong]) -> list[Any]:
        """The lines that are records."""
        return lines


class JsonLines(Lines):
    """Files with a JSON value in each line: `feed = JsonLines("in/*.jsonl.gz")`.

    As `Lines`; empty lines are passed over. A line that is no JSON is that record's failure, with its bytes as the
    record.
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


def _encoding(encoding: str) -> str:
    try:
        name = codecs.lookup(encoding).name
        fits = "\n".encode(encoding) == b"\n"
    except (LookupError, TypeError) as error:
        raise ConfigError(f"encoding={encoding!r}: there is no such encoding of text") from error
    if name == "utf-8-sig":
        return "utf-8"  # the mark is passed over where there is one
    if not fits:
        raise ConfigError(f"encoding={encoding!r}: its newlines are not the byte 10: convert the files first (iconv)")
    return name


def _positive(name: str, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 1:
        raise ConfigError(f"{name}={value!r}: must be a number of at least 1")
    return value
