"""`Objects`: results as the lines of an object in a store, uploaded while they come; whole, or not there."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from pipeframe_async.compression import kind_of
from pipeframe_async.errors import ConfigError, text_of
from pipeframe_async.servers.objects import EXTRA, store
from pipeframe_async.servers.reach import needed, positive
from pipeframe_async.sinks.csv import Csv
from pipeframe_async.sinks.lines import JsonLines, Lines
from pipeframe_async.sinks.squeezing import Form, Plain, Stream
from pipeframe_async.urls import format_of, shown

FORMATS: dict[str, type[Lines]] = {"lines": Lines, "jsonl": JsonLines, "csv": Csv}
AHEAD = 8
"""Pieces that wait to be uploaded. More are more memory, fewer let results wait for each request."""
PART = 8 * 2**20
"""Bytes of a part of an upload, of which stores take 10,000. More is memory, fewer make the largest object smaller."""


class Objects:
    """Results as lines of an object: `sink = Objects("s3://bucket/prices.jsonl.gz")`.

    It is uploaded in parts while results come, and is there when the run has ended well; else it is as it was before.
    A source's records are acked then, and not before: let such a run end, by a `timeout`, `feed.stop()` or a feed with
    an end.

    Args:
        url: `s3://`, `gs://`, `az://` or `file:///`, with the object's name.
        format: `"jsonl"`, `"csv"` or `"lines"`, as the sinks for files write them; by default by how the name ends.
        options: of the store, as obstore has them; what is not there is taken from the environment.
        timeout: seconds that a request may take, all tries together.
        writing: options of that format (`compression`, `encoding`, `names` …).

    Raises:
        ConfigError: a value is wrong, or the extra `objects` is not installed.

    Process: two threads of the parent, one that compresses and one that uploads; `encode` runs in the workers.
    """

    whole = True

    def __init__(
        self,
        url: str,
        *,
        format: str | None = None,
        options: dict[str, Any] | None = None,
        timeout: float = 60.0,
        **writing: Any,
    ) -> None:
        self._name = f"Objects({shown(url)!r})"
        kind = format_of(url) if format is None else format
        if kind not in FORMATS:
            raise ConfigError(f"{self._name}: format={kind!r}: must be one of {', '.join(map(repr, FORMATS))}")
        if unfit := {"append", "fsync"} & writing.keys():
            raise ConfigError(f"{self._name}: an object is replaced as a whole: leave out {', '.join(sorted(unfit))}")
        made, path = store(url, options or {}, positive(self._name, "timeout", timeout))
        if not path or path.endswith("/"):
            raise ConfigError(f"{self._name}: it names no object")
        squeezed = kind_of(path, writing.get("compression", "infer"))
        self._lines = FORMATS[kind](path, **writing)
        self._lines.opened = partial(_Upload, made, path, squeezed, self._name)

    def __repr__(self) -> str:
        return self._name

    @property
    def encode(self) -> Callable[[Any], Any]:
        """As of its format."""
        return self._lines.encode

    def __enter__(self) -> None:
        self._lines.__enter__()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        self._lines.__exit__(kind, error, traceback)

    def write(self, lines: Sequence[Any]) -> None:
        """Hand them to the upload."""
        self._lines.write(lines)


class _GivenUp(Exception):
    """Ends an upload whose object shall not be."""


class _Upload:
    """An upload in a thread of its own, which takes bytes as fast as the store does. It is a `Writer`."""

    goes_back = False
    head = b""

    def __init__(self, made: Any, path: str, kind: str | None, name: str) -> None:
        self.empty = True
        self._store = made
        self._path = path
        self._name = name
        self._form: Form = Plain() if kind is None else Stream(kind)
        self._pieces: queue.Queue[bytes | Exception | None] = queue.Queue(AHEAD)
        self._error: BaseException | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._main, name="pipeframe-upload", daemon=True)
        self._thread.start()

    def begin(self) -> None:
        """It is ready."""

    def write(self, lines: Sequence[bytes]) -> None:
        """Behind what is there."""
        self.empty = False
        self._hand_over(self._form.put(lines))

    def position(self) -> None:
        """There is none: what was uploaded is nowhere before all of it is."""

    def restore(self, position: dict[str, Any] | None) -> None:
        """Nobody asks for it: `Objects` has no such thing."""

    def close(self, *, whole: bool) -> None:
        """Complete it, or let nothing of it be there."""
        try:
            if whole:
                self._hand_over(self._form.end())
                self._hand_over(None)
            elif not self._ended.is_set():
                self._hand_over(_GivenUp())
        finally:
            self._thread.join()
        if whole:
            self._check()

    def _hand_over(self, piece: bytes | Exception | None) -> None:
        while True:
            self._check()
            try:
                self._pieces.put(piece, timeout=0.1)  # it is emptied by the thread, for as long as that goes on
            except queue.Full:
                continue
            return

    def _check(self) -> None:
        if self._error is not None and not isinstance(self._error, _GivenUp):
            raise OSError(f"{self._name} cannot be written: {text_of(self._error)}") from self._error

    def _main(self) -> None:
        try:
            needed("obstore", EXTRA).put(self._store, self._path, self._taken(), use_multipart=True, chunk_size=PART)
        except BaseException as error:
            self._error = error
        finally:
            self._ended.set()

    def _taken(self) -> Iterator[bytes]:
        while (piece := self._pieces.get()) is not None:
            if isinstance(piece, Exception):
                raise piece
            if piece:
                yield piece
