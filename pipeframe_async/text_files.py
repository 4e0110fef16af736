"""What files of text are made of: encodings whose lines can be told apart as bytes, and rows with fields in quotes."""

from __future__ import annotations

import codecs
import re
from typing import Any

from pipeframe_async.errors import ConfigError

PLAIN = b"\n"
"""Stands for what a field begins with that is in no quotes. No line has it."""


def encoding_of(encoding: Any) -> tuple[str, bytes]:
    """The name of an encoding, and the mark that a file in it begins with.

    Raises:
        ConfigError: there is none of that name, or its newlines are not what they are in ASCII.
    """
    try:
        name = codecs.lookup(encoding).name
        fits = "\n".encode(encoding).removeprefix(codecs.BOM_UTF8) == b"\n"
    except (LookupError, TypeError, UnicodeEncodeError) as error:
        raise ConfigError(f"encoding={encoding!r}: there is no such encoding of text") from error
    if not fits:
        raise ConfigError(
            f"encoding={encoding!r}: its newlines are not the byte 10: use UTF-8 here, and have iconv convert the files"
        )
    return ("utf-8", codecs.BOM_UTF8) if name == "utf-8-sig" else (name, b"")


def character(name: str, value: Any, encoding: str) -> bytes:
    """One character that no line ends with.

    Raises:
        ConfigError: it is none, or one that the encoding does not have.
    """
    if not isinstance(value, str) or len(value) != 1 or value in "\r\n\0":
        raise ConfigError(f"{name}={value!r}: must be one character, and none that ends a line")
    try:
        return value.encode(encoding)
    except UnicodeEncodeError as error:
        raise ConfigError(f"{name}={value!r}: encoding={encoding!r} does not have it") from error


class Quoting:
    """Fields that a delimiter separates, and quotes in which one may stand, as `csv` of the standard library has them.

    A quote that does not stand at the beginning of a field is a character as any other.

    Args:
        quote: what such a field begins and ends with; doubled it stands for itself there.
        delimiter: between fields.

    Raises:
        ConfigError: they are the same.
    """

    def __init__(self, quote: bytes, delimiter: bytes) -> None:
        if quote == delimiter:
            raise ConfigError(f"quote={quote.decode('latin-1')!r}: is the delimiter too")
        other, plain = _all_but(quote), _all_but(delimiter)
        q, d = re.escape(quote), re.escape(delimiter)
        field = b"(?:%b(?:%b++|%b%b)*+%b%b*+|(?!%b)%b*+)" % (q, other, q, q, q, plain, q, plain)
        self._closed = re.compile(b"%b(?:%b%b)*+" % (field, d, field), re.DOTALL)
        self._delimiter = delimiter
        self.quote = quote

    def is_open(self, text: bytes) -> bool:
        """Whether a row that begins so is in quotes there."""
        return self.quote in text and not self._closed.fullmatch(text)

    def rest(self, text: bytes) -> bytes:
        """What to put before the rest of a row that begins so: `is_open` says the same of them then."""
        if self.is_open(text):
            return self.quote
        if not text or text.endswith(self._delimiter):
            return b""
        if text.endswith(self.quote) and self.is_open(text.removesuffix(self.quote)):
            return self.quote * 2  # it has closed the quotes, unless another one follows
        return PLAIN


def _all_but(character: bytes) -> bytes:
    """Any byte but that, or any at which that of many bytes does not begin."""
    return b"[^%b]" % re.escape(character) if len(character) == 1 else b"(?:(?!%b).)" % re.escape(character)
