"""Rows with fields in quotes, cut anywhere; as `csv` of the standard library reads them."""

from __future__ import annotations

import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeframe_async import ConfigError
from pipeframe_async.text_files import Quoting, character, encoding_of

ROW = st.text('"",a\r', max_size=12)
MANY = {'"': "«", ",": "；"}


def reads_on(row: str) -> bool:
    """Whether `csv` takes what follows the row, a newline and a mark, for part of its last field."""
    *_, last = csv.reader([row.replace("\r", "r") + "\n", 'mark"\n'])
    return last != ['mark"']


@given(row=ROW)
def test_it_is_open_where_csv_reads_on(row: str) -> None:
    assert Quoting(b'"', b",").is_open(row.encode()) is reads_on(row)


@given(row=ROW)
def test_characters_of_many_bytes_are_as_others(row: str) -> None:
    many = row.translate(str.maketrans(dict[str, str | int | None](MANY))).encode()
    assert Quoting("«".encode(), "；".encode()).is_open(many) is Quoting(b'"', b",").is_open(row.encode())


@given(row=ROW, cuts=st.lists(st.integers(0, 12), max_size=4))
def test_it_may_come_in_pieces(row: str, cuts: list[int]) -> None:
    quoting, text, before, at = Quoting(b'"', b","), row.encode(), b"", 0
    for cut in sorted(cuts):
        before, at = quoting.rest(before + text[at:cut]), max(at, cut)
    assert quoting.is_open(before + text[at:]) is quoting.is_open(text)


@pytest.mark.parametrize(
    ("row", "is_open"),
    [
        (b'"",' * 500_000, False),
        (b'"' + b'""' * 1_000_000, True),
        (b'a"' * 1_000_000, False),
        (b"," * 2_000_000 + b'"', True),
    ],
    ids=["quoted", "doubled", "inside", "last"],
)
def test_a_long_row_is_read_once(row: bytes, is_open: bool) -> None:
    assert Quoting(b'"', b",").is_open(row) is is_open


@pytest.mark.parametrize(
    ("encoding", "name", "mark"), [("UTF8", "utf-8", b""), ("utf-8-sig", "utf-8", b"\xef\xbb\xbf")]
)
def test_an_encoding_has_one_name_and_perhaps_a_mark(encoding: str, name: str, mark: bytes) -> None:
    assert encoding_of(encoding) == (name, mark)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32-le", "cp037", "hex", "nope", 5, None])
def test_no_other_encoding_is_taken(encoding: object) -> None:
    with pytest.raises(ConfigError, match="encoding="):
        encoding_of(encoding)


@pytest.mark.parametrize("value", ["", "ab", 5, "\n", "\r", "\0", None])
def test_a_character_is_one(value: object) -> None:
    with pytest.raises(ConfigError, match=r"quote=.*: must be one character"):
        character("quote", value, "utf-8")
