"""`Objects`: what is in the objects of a store, streamed, as files are read."""

from __future__ import annotations

import fnmatch
import glob
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pipeframe_async.errors import ConfigError
from pipeframe_async.feeds.csv import Csv
from pipeframe_async.feeds.lines import JsonLines, Lines
from pipeframe_async.feeds.reading import BLOCK, behind, decompressed
from pipeframe_async.model import Chunk
from pipeframe_async.servers.objects import EXTRA, store
from pipeframe_async.servers.reach import needed, positive
from pipeframe_async.urls import format_of, shown

FORMATS: dict[str, type[Lines]] = {"lines": Lines, "jsonl": JsonLines, "csv": Csv}
LOST = 5
"""Times that the rest of an object is asked for anew, where a connection is lost in the middle of it."""


class Objects:
    """The lines of a store's objects: `feed = Objects("s3://bucket/orders/2026-*/*.jsonl.gz")`.

    They are streamed one after the other, in the order of their names, and decoded in the workers; memory is bounded,
    however large they are. A connection that is lost is made again, and the object read on where it was, unless it has
    changed meanwhile.

    Args:
        url: `s3://`, `gs://`, `az://`, `https://` or `file:///`, with the name of an object, a prefix that ends in `/`,
            or `*`, `?` and `[…]` in it, which match any characters. Over HTTP only the name of one.
        format: `"jsonl"`, `"csv"` or `"lines"`, as `JsonLines`, `Csv` and `Lines` read files; by default by how the
            names end.
        options: of the store, as obstore has them (`{"endpoint": …, "region": …}`); what is not there is taken from the
            environment, with credentials.
        timeout: seconds that a request may take, all tries together.
        reading: options of that format (`max_line`, `compression`, `encoding`, `names` …).

    Raises:
        ConfigError: a value is wrong, or the extra `objects` is not installed.

    Process: objects are read in a thread of the parent; `decode` runs in the workers.
    """

    streams = True

    def __init__(
        self,
        url: str,
        *,
        format: str | None = None,
        options: dict[str, Any] | None = None,
        timeout: float = 60.0,
        **reading: Any,
    ) -> None:
        self._name = f"Objects({shown(url)!r})"
        kind = format_of(url) if format is None else format
        if kind not in FORMATS:
            raise ConfigError(f"{self._name}: format={kind!r}: must be one of {', '.join(map(repr, FORMATS))}")
        made, self._path = store(url, options or {}, positive(self._name, "timeout", timeout))
        self._lines = FORMATS[kind](self._path or "/", **reading)
        self._lines.files = _Stored(made, self._name)

    def __repr__(self) -> str:
        return self._name

    @property
    def decode(self) -> Callable[[Any], Any]:
        """As of its format."""
        return self._lines.decode

    @property
    def position(self) -> dict[str, Any] | None:
        """As of its format: an object by its name, and where it is in that."""
        return self._lines.position

    def seek(self, position: dict[str, Any]) -> None:
        """As of its format. An object that is not compressed is asked for from there on."""
        self._lines.seek(position)

    def __iter__(self) -> Iterator[Chunk[Any]]:
        return iter(self._lines)


class _Stored:
    """Objects as files: found, and read block by block."""

    def __init__(self, made: Any, name: str) -> None:
        self._store = made
        self._name = name

    def found(self, paths: Sequence[str]) -> Iterator[str]:
        """Those that are meant, by name.

        Raises:
            FileNotFoundError: there are none.
        """
        obstore = needed("obstore", EXTRA)
        (path,) = paths
        if not glob.has_magic(path) and not path.endswith("/"):
            yield path  # that it is not there is said when it is read
            return
        before = re.split(r"[*?[]", path)[0]
        fits = re.compile(fnmatch.translate(path if glob.has_magic(path) else f"{path.removeprefix('/')}*"))
        pages = obstore.list(self._store, prefix=before.rpartition("/")[0] or None)
        names = sorted(one["path"] for page in pages for one in page if fits.match(one["path"]))
        if not names:
            raise FileNotFoundError(f"{self._name}: there is no such object")
        yield from names

    def lasts(self, path: str) -> bool:
        """Objects do."""
        return True

    def size(self, path: str) -> int:
        """Bytes of one."""
        obstore, errors = needed("obstore", EXTRA), needed("obstore.exceptions", EXTRA)
        try:
            return int(obstore.head(self._store, path)["size"])
        except (errors.NotFoundError, FileNotFoundError) as error:
            raise FileNotFoundError(f"{self._name}: there is no {path}") from error

    def blocks(self, path: str, kind: str | None, max_expansion: float | None, start: int = 0) -> Iterator[bytes]:
        """The bytes of one behind the first `start`, decompressed within limits."""
        if kind is not None:
            raw = _Object(self._store, path, self._name)
            name = f"{self._name}: {path}"
            yield from behind(start, name, decompressed(name, kind, raw, max_expansion))
            return
        if start and self.size(path) == start:
            return  # stores refuse a range without a byte
        raw = _Object(self._store, path, self._name, start)
        while block := raw.read(BLOCK):
            yield block


class _Object:
    """An object that is read to its end, over several connections where one is lost."""

    def __init__(self, made: Any, path: str, name: str, start: int = 0) -> None:
        self._store = made
        self._path = path
        self._name = name
        self._at = start
        self._tag: str | None = None
        self._stream: Iterator[Any] | None = None
        self._rest = b""
        self._lost = 0

    def read(self, size: int) -> bytes:
        """The next bytes, at most so many; none at its end."""
        if not self._rest:
            self._rest = self._next()
        block, self._rest = self._rest[:size], self._rest[size:]
        return block

    def _next(self) -> bytes:
        obstore, errors = needed("obstore", EXTRA), needed("obstore.exceptions", EXTRA)
        while True:
            try:
                if self._stream is None:
                    self._stream = self._opened(obstore)
                block = bytes(next(self._stream, b""))
            except (errors.NotFoundError, FileNotFoundError) as error:
                raise FileNotFoundError(f"{self._name}: there is no {self._path}") from error
            except errors.PreconditionError as error:
                raise OSError(f"{self._name}: {self._path} has changed while it was read") from error
            except (errors.GenericError, OSError) as error:
                self._lost += 1
                if self._lost > LOST or self._at == 0:
                    raise OSError(f"{self._name}: {self._path} cannot be read: {error}") from error
                self._stream = None  # its rest is asked for
            else:
                self._at += len(block)
                return block

    def _opened(self, obstore: Any) -> Iterator[Any]:
        if self._at == 0:
            found = obstore.get(self._store, self._path)
            self._tag = found.meta["e_tag"]
        else:
            unchanged = {} if self._tag is None else {"if_match": self._tag}
            found = obstore.get(self._store, self._path, options={"range": {"offset": self._at}, **unchanged})
            self._tag = found.meta["e_tag"]
        return iter(found.stream(min_chunk_size=BLOCK))
