"""Where what is whole ends in a file that is appended to: what comes behind it was torn by a kill, or somebody has left
its last line without a newline.
"""

from __future__ import annotations

from pipeframe_async import compression
from pipeframe_async.sinks.owned import BLOCK, Owned
from pipeframe_async.text_files import Quoting


def whole_lines(file: Owned) -> int:
    """Where the last line ends that has its newline."""
    end = file.size
    while end:
        start = max(0, end - BLOCK)
        if (found := file.read(start)[: end - start].rfind(b"\n")) >= 0:
            return start + found + 1
        end = start
    return 0


def whole_rows(file: Owned, quoting: Quoting) -> int:
    """Where the last row ends that has its newline, which is in no quotes."""
    whole, at, row = 0, 0, b""  # of the row that has not ended, what stands for it
    while block := file.read(at):
        *lines, part = block.split(b"\n")
        for line in lines:
            at += len(line) + 1
            if quoting.is_open(row + line):
                row = quoting.quote
            else:
                whole, row = at, b""
        at += len(part)
        row = quoting.rest(row + part)
    return whole


def whole_members(file: Owned, kind: str) -> int:
    """Where the last of the streams ends, one after the other, that is whole.

    Raises:
        ValueError: there is something that is no such stream, nor the beginning of one.
    """
    whole, at, stream, rest = 0, 0, compression.decompressor(kind), b""
    while True:
        if not rest:
            rest = file.read(at)
            at += len(rest)
        if not rest:
            return whole
        try:
            stream.decompress(rest)
        except compression.errors(kind) as error:
            raise ValueError(f"behind its first {whole:,} bytes it is not {kind} ({error})") from error
        rest = stream.unused_data if stream.eof else b""
        if stream.eof:
            whole = at - len(rest)
            stream = compression.decompressor(kind)
