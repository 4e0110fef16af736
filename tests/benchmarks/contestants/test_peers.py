"""The peers of the standard library say what they did."""

from __future__ import annotations

from benchmarks.contestants import peers
from benchmarks.works import trivial as work


def test_a_plain_loop_says_what_it_did() -> None:
    assert peers.plain_loop(work.TRIVIAL, 100) == work.expected(100)
