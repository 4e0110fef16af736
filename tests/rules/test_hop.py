"""What a batch's hop was, by what can be seen of it from outside."""

from __future__ import annotations

import pytest

from pipeframe_async._rules.hop import hop_of


def test_what_a_worker_that_had_nothing_to_do_was_not_at_is_the_hop() -> None:
    assert hop_of(0.030, 0.018, idle=5.0) == pytest.approx(0.012)
    assert hop_of(0.030, 0.018, idle=0.007) == pytest.approx(0.012)


def test_a_batch_that_has_waited_behind_another_does_not_tell() -> None:
    assert hop_of(0.030, 0.015, idle=0.0001) is None
    assert hop_of(0.030, 0.015, idle=0.007) is None


def test_the_first_batch_of_a_worker_does_not_tell() -> None:
    assert hop_of(0.500, 0.001, idle=None) is None


def test_clocks_that_disagree_make_no_hop_below_nothing() -> None:
    assert hop_of(0.010, 0.011, idle=0.0) == 0.0
