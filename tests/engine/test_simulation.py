"""Two thousand runs, each drawn from a seed: whatever dies, hangs or is cancelled, nothing is lost, nobody wronged."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.engine.simulated import play

KEPT: list[int] = json.loads(Path(__file__).with_name("seeds.json").read_text())["seeds"]
FIRST = int(os.environ.get("PIPEFRAME_FIRST_SEED", "0"))
"""Where the seeds begin: another one each night finds what these have not."""


def test_a_seed_that_failed_once_does_not_again() -> None:
    play(KEPT)


@pytest.mark.parametrize("hundred", [0, 1, *(pytest.param(n, marks=pytest.mark.full) for n in range(2, 20))])
def test_nothing_is_lost_delivered_twice_or_blamed_wrongly_whatever_happens(hundred: int) -> None:
    first = FIRST + 100 * hundred
    play(range(first, first + 100))
