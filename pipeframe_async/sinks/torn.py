"""Where what is whole ends in a file that is appended to: what comes behind it was torn by a kill."""

from __future__ import annotations

from pipeframe_async import compression
from pipeframe_async.sinks.owned import BLOCK, Owned


def whole_lines(file: Owned) -> int:
    """Where the last line ends that has its newline."""
    end = file.size
    while end:
        start = max(0, end - BLOCK)
        if (found := file.read(start)[: end - start].rfind(b"\n")) >= 0:
            return start + found + 1
        end = start
    return 0


def whole_rows(file: Owned, quote: bytes) -> int:
    """Where the last row ends that has its newline, which is in no quotes."""
    whole, at, quoted = 0, 0, False
    while block := file.read(at):
        for line in block.splitlines(keepends=True):
            quoted ^= line.count(quote) % 2 == 1
            at += len(line)
            if not quoted and line.endswith(b"\n"):
                whole = at
    return whole


def whole_members(file: Owned, kind: str) -> int:
    """Where the last of the streams ends, one after the other, that is whole."""
    whole, at, stream, rest = 0, 0, compression.decompressor(kind), b""
    while True:
        if not rest:
            rest = file.read(at)
            at += len(rest)
        if not rest:
            return whole
        try:
            stream.decompress(rest)
        except compression.errors(kind):
            return whole
        rest = stream.unused_data if stream.eof else b""
        if stream.eof:
            whole = at - len(rest)
            stream = compression.decompressor(kind)
