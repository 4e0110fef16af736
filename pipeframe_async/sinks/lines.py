"""`Lines` and `JsonLines`: results as lines of a file, encoded in the workers and written in the sink's thread."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from pipeframe_async.compression import kind_of
from pipeframe_async.errors import ConfigError
from pipeframe_async.model import Failure
from pipeframe_async.sinks.values import as_json
from pipeframe_async.sinks.writing import FSYNC, Writer, growing, is_replaced, writer
from pipeframe_async.text_files import Quoting, encoding_of


class Lines:
    """Results as lines of text: `sink = Lines("out.txt")`.

    A file is written beside its place, as `out.txt.part`, and put there when the run has ended well: it is whole, or is
    as it was before. With `append=True` lines are put behind those that are there; a last one that has no newline, as
    it was torn by a kill, is put aside by the next run, in `out.txt.torn`, with a warning. What is damaged otherwise is
    not appended to. No two runs or processes write the same file. A link stays, and so do the permissions of a file
    that is replaced. A pipe, a device, and what `/dev/stdout` or `/dev/fd/3` stand for, are written to as results come.

    In a job with a checkpoint `out.txt.part` stays when the job is killed or ends with an error, and is cut back to
    where the job goes on; the file is, byte for byte, that of a job that was never killed. With `append=True` the file
    itself is cut back, also by what others have appended meanwhile. A compressed one has a stream for each mebibyte of
    lines: for gzip and zstd it is ½ % larger so, for bzip2 and xz about 5 %.

    Args:
        path: of the file, or `-` for standard output.
        append: keep what is there. A compressed file gets a stream for each list of results.
        encoding: of the text; `"utf-8-sig"` is UTF-8 with a mark at the beginning of the file.
        compression: `"infer"` by the end of the path (.gz, .bz2, .xz; .zst with the extra `files`), None, or `"gzip"`,
            `"bzip2"`, `"xz"`, `"zstd"`.
        fsync: what has been written is always with the operating system, and survives the end of this program.
            `"close"`: at the end it is on the disk too. `"write"`: after each list of results, before they are acked.
            `"never"`: when the system does it.

    Raises:
        ConfigError: a value is wrong.

    Process: the file is written in a thread of the parent; `encode` runs in the workers.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        append: bool = False,
        encoding: str = "utf-8",
        compression: str | None = "infer",
        fsync: str = "close",
    ) -> None:
        self.path = os.fspath(path)
        self._append = append
        self._encoding, self._mark = encoding_of(encoding)
        self._due = b""  # of the mark, where nothing was written yet
        self._kind = kind_of(self.path, compression)
        if fsync not in FSYNC:
            raise ConfigError(f"fsync={fsync!r}: must be one of {', '.join(map(repr, FSYNC))}")
        self._fsync = fsync
        self._writer: Writer | None = None
        self._begun = False
        self.opened: Callable[[], Writer] = self._opened  # where it is written; `Objects` has another place

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path!r})"

    @property
    def encode(self) -> Callable[[Any], bytes]:
        """A text to a line."""
        return partial(_line, encoding=self._encoding)

    @property
    def whole(self) -> bool:
        """What it was given is there when it has been closed, and not before."""
        return not self._append and is_replaced(self.path)

    @property
    def writes(self) -> tuple[str, ...]:
        """Files that become larger while it is used."""
        return growing(self.path, append=self._append)

    _quoting: Quoting | None = None  # newlines in quotes end no line

    def __enter__(self) -> None:
        self._writer = self.opened()
        self._begun = False
        if not self._writer.goes_back:
            self._begin()

    def _begin(self) -> None:
        """Nobody has restored it, or to nothing: what a file begins with is to be written."""
        assert self._writer is not None  # it was entered
        self._begun = True
        self._writer.begin()
        self._due = self._mark if self._writer.empty else b""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        if self._writer is None:
            return
        try:
            if kind is None and not self._begun:
                self._begin()
        except BaseException:
            kind = Exception
            raise
        finally:
            opened, self._writer = self._writer, None
            opened.close(whole=kind is None)

    def _opened(self) -> Writer:
        return writer(self.path, append=self._append, kind=self._kind, fsync=self._fsync, quoting=self._quoting)

    def write(self, lines: Sequence[Any]) -> None:
        """Write lines; of failures, which nobody has encoded, what they say."""
        assert self._writer is not None  # it was entered
        if not self._begun:
            self._begin()
        self._put([line if type(line) is bytes else self.encode(line) for line in lines])

    def _put(self, lines: list[bytes]) -> None:
        assert self._writer is not None  # it was entered
        if self._due and lines:
            lines[0] = self._due + lines[0]
        self._writer.write(lines)
        self._due = b"" if lines else self._due

    def position(self) -> dict[str, Any] | None:
        """Where the file ends; it survives the machine, unless `fsync="never"`. None of a pipe or device."""
        assert self._writer is not None  # it was entered
        return self._writer.position()

    def restore(self, position: dict[str, Any] | None) -> None:
        """Go on at a position, or begin a file that can be gone on with.

        A file that was put in its place is taken from there, until it is whole again. To a pipe or device results that
        came after the last checkpoint may be written again.

        Raises:
            CheckpointMismatch: the file does not have what the job has written.
        """
        assert self._writer is not None  # it was entered
        self._writer.restore(position)
        if position is not None:
            self._begun = True
            self._due = self._mark if self._writer.empty else b""
        elif not self._begun:
            self._begin()


class JsonLines(Lines):
    """Results as JSON, a line each: `sink = JsonLines("out.jsonl.gz")`. As a `dead_letter`, failures so.

    As `Lines`. A result that JSON does not know is that record's failure, unless `default` makes something of it. A
    failure is as `Failure.as_dict` has it.

    Args:
        path, append, encoding, compression, fsync: as `Lines`.
        default: makes of a value that JSON does not know one that it does; runs in the workers.

    Raises:
        ConfigError: as `Lines`.

    Process: as `Lines`; JSON is made in the workers.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        default: Callable[[Any], Any] | None = None,
        append: bool = False,
        encoding: str = "utf-8",
        compression: str | None = "infer",
        fsync: str = "close",
    ) -> None:
        super().__init__(path, append=append, encoding=encoding, compression=compression, fsync=fsync)
        self._default = default

    @property
    def encode(self) -> Callable[[Any], bytes]:
        """A value to a line."""
        return partial(as_json, encoding=self._encoding, default=self._default, end="\n")


def _line(value: Any, *, encoding: str) -> bytes:
    if isinstance(value, Failure):
        value = str(value).replace("\n", " ").encode(encoding, "backslashreplace")
    if type(value) is bytes:
        line = value
    elif isinstance(value, str):
        line = value.encode(encoding)
    else:
        raise TypeError(
            f"a line is str or bytes, and this is {type(value).__name__}: let the last step make a text of it"
        )
    if b"\n" in line:
        raise ValueError("it has a newline in it, and would be several lines")
    return line + b"\n"
