"""Whom to ask for a sign of life, and whom to give up."""

from __future__ import annotations

import pytest

from pipeframe_async._rules.silence import BEAT_SECONDS, Silence


def test_who_is_new_has_just_been_heard() -> None:
    silence = Silence(60.0)
    silence.watch(["a"], 100.0)
    assert (silence.quiet(100.5), silence.quiet(101.0)) == ([], ["a"])
    assert (silence.given_up(159.9), silence.given_up(160.0)) == ([], ["a"])


def test_a_word_is_a_sign_of_life() -> None:
    silence = Silence(60.0)
    silence.watch(["a", "b"], 0.0)
    silence.heard("a", 10.0)
    silence.watch(["a", "b"], 11.0)
    assert (silence.lasts("a", 11.0), silence.lasts("b", 11.0)) == (1.0, 11.0)
    assert silence.given_up(60.0) == ["b"]


def test_who_is_not_listened_to_is_never_silent() -> None:
    silence = Silence(60.0)
    silence.heard("a", 0.0)
    assert (silence.quiet(100.0), silence.lasts("a", 100.0)) == ([], 0.0)
    silence.watch(["a"], 100.0)
    silence.watch([], 150.0)
    assert silence.given_up(1_000.0) == []


@pytest.mark.parametrize(("timeout", "beat"), [(60.0, BEAT_SECONDS), (2.0, 0.5)])
def test_several_signs_fit_into_the_time_after_which_one_is_given_up(timeout: float, beat: float) -> None:
    assert Silence(timeout).beat == beat
