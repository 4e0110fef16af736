"""What files are compressed with: told by the ends of their names, read and written by the standard library's modules.

Zstandard is in it from Python 3.14 on; before that it is the extra `files`.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import zlib
from typing import IO, Any, Protocol

from pipeframe_async.errors import ConfigError

KINDS = {"gzip": ".gz", "bzip2": ".bz2", "xz": ".xz", "zstd": ".zst"}
"""How the names of files end that are compressed so."""


class Compressor(Protocol):
    """One stream of compressed bytes."""

    def compress(self, data: bytes, /) -> bytes:
        """What comes out of it at once."""

    def flush(self) -> bytes:
        """The rest; nothing more goes in."""


def kind_of(path: str, compression: str | None) -> str | None:
    """What a file is compressed with; `compression` is a name of `KINDS`, None, or `"infer"`.

    Raises:
        ConfigError: there is no such thing; or its extra is missing.
    """
    ends = {suffix: kind for kind, suffix in KINDS.items()}
    kind = ends.get(os.path.splitext(path)[1]) if compression == "infer" else compression
    if kind not in (None, *KINDS):
        allowed = ", ".join(map(repr, ("infer", None, *KINDS)))
        raise ConfigError(f"compression={compression!r}: must be one of {allowed}")
    if kind == "zstd":
        _zstd()
    return kind


def reader(kind: str, file: IO[bytes]) -> IO[bytes]:
    """A file read as it was before it was compressed, a bounded number of bytes at a time."""
    match kind:
        case "gzip":
            return gzip.GzipFile(fileobj=file, mode="rb")  # type: ignore[return-value]
        case "bzip2":
            return bz2.BZ2File(file)
        case "xz":
            return lzma.LZMAFile(file)
    return _zstd().ZstdFile(file)  # type: ignore[no-any-return]


def compressor(kind: str) -> Compressor:
    """A stream to write."""
    match kind:
        case "gzip":
            return zlib.compressobj(6, zlib.DEFLATED, 31)
        case "bzip2":
            return bz2.BZ2Compressor()
        case "xz":
            return lzma.LZMACompressor()
    return _zstd().ZstdCompressor()  # type: ignore[no-any-return]


def decompressor(kind: str) -> Any:
    """A stream to read, which says where it ends: `eof` and `unused_data`."""
    match kind:
        case "gzip":
            return zlib.decompressobj(31)
        case "bzip2":
            return bz2.BZ2Decompressor()
        case "xz":
            return lzma.LZMADecompressor()
    return _zstd().ZstdDecompressor()


def errors(kind: str) -> tuple[type[Exception], ...]:
    """What is raised of bytes that are damaged, or end too early."""
    own = {"gzip": zlib.error, "xz": lzma.LZMAError}.get(kind, OSError)
    return (OSError, EOFError, _zstd().ZstdError if kind == "zstd" else own)


def _zstd() -> Any:
    try:
        from compression import zstd  # type: ignore[import-not-found]  # Python 3.14
    except ImportError:
        try:
            from backports import zstd
        except ImportError as error:
            raise ConfigError("for .zst files: pip install 'pipeframe_async[files]'") from error
    return zstd
