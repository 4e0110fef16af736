"""Verdicts as values: how they are checked and shown."""

from __future__ import annotations

import pytest

from pipeframe_async import ConfigError
from pipeframe_async.testing import Conformance, Verdict
from pipeframe_async.testing.conformance import markdown
from pipeframe_async.testing.conformance.page import rewritten, table_of

FOUND = Conformance(
    "Mine",
    (
        Verdict("water is wet", True, seconds=0.25),
        Verdict("pigs fly", False, "fell down", "from 3 m"),
        Verdict("unicorns fly", None, "there are none"),
    ),
)


def test_what_does_not_hold_is_listed_with_its_reason() -> None:
    with pytest.raises(AssertionError) as raised:
        FOUND.check()
    assert str(raised.value).splitlines() == [
        "Mine does not conform:",
        "does not hold: pigs fly: fell down (from 3 m)",
    ]


def test_what_is_known_not_to_hold_passes() -> None:
    FOUND.check(but=["pigs fly"])


def test_what_is_listed_and_holds_is_to_be_taken_off_the_list() -> None:
    with pytest.raises(AssertionError, match="holds, and is listed in but=: water is wet"):
        FOUND.check(but=["pigs fly", "water is wet"])


def test_a_name_that_is_no_case_is_refused() -> None:
    with pytest.raises(ConfigError, match="cats bark"):
        FOUND.check(but=["cats bark"])


def test_a_verdict_is_found_by_its_case() -> None:
    assert FOUND["pigs fly"].reason == "fell down"
    with pytest.raises(KeyError):
        FOUND["cats bark"]


def test_it_prints_as_a_table() -> None:
    lines = [line.split() for line in str(FOUND).splitlines()]
    assert lines == [
        ["Mine:", "1", "held,", "1", "did", "not"],
        ["yes", "water", "is", "wet", "0.2", "s"],
        ["NO", "pigs", "fly", "0.0", "s"],
        ["fell", "down", "(from", "3", "m)"],
        ["–", "unicorns", "fly", "0.0", "s"],
        ["there", "are", "none"],
    ]


def test_a_table_on_a_page_reads_as_what_was_found() -> None:
    other = Conformance("Other", (Verdict("cats meow", True), Verdict("pigs fly", True)))
    page = "# Title\n<!-- conformance: begin -->\nold\n<!-- conformance: end -->\nend\n"
    page = rewritten(page, markdown([FOUND, other]))
    assert table_of(page) == {
        "Mine": {"water is wet": "yes", "pigs fly": "no: fell down", "unicorns fly": "–", "cats meow": ""},
        "Other": {"water is wet": "", "pigs fly": "yes", "unicorns fly": "", "cats meow": "yes"},
    }
    assert page.startswith("# Title\n")
    assert page.endswith("-->\nend\n")
    assert rewritten(page, FOUND.markdown()).count("water is wet") == 1


def test_a_page_without_a_place_for_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match="conformance: begin"):
        rewritten("# Title\n", "| |")
