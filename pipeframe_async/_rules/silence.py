"""Who says nothing any more, and for how long: whom to ask for a sign of life, and whom to give up."""

from __future__ import annotations

from collections.abc import Iterable

BEAT_SECONDS = 1.0
"""After how long without a word somebody is asked for one. Shorter is work for every worker that has a long batch;
longer knows later that one is back."""
BEATS = 4
"""Signs of life at least that fit into the time after which somebody is given up: one may be lost on its way."""


class Silence:
    """How long others have said nothing.

    Args:
        timeout: seconds after which somebody is given up.
    """

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self.beat = min(BEAT_SECONDS, timeout / BEATS)
        self._heard: dict[str, float] = {}

    def watch(self, names: Iterable[str], now: float) -> None:
        """Those who are listened to from now on. Who is new counts as heard; the others are forgotten."""
        self._heard = {name: self._heard.get(name, now) for name in names}

    def heard(self, name: str, now: float) -> None:
        """It has said something."""
        if name in self._heard:
            self._heard[name] = now

    def lasts(self, name: str, now: float) -> float:
        """Seconds since it has said something; 0 of those nobody listens to."""
        return now - self._heard.get(name, now)

    def quiet(self, now: float) -> list[str]:
        """Whom to ask for a sign of life."""
        return [name for name in self._heard if self.lasts(name, now) >= self.beat]

    def given_up(self, now: float) -> list[str]:
        """Who has been silent for too long."""
        return [name for name in self._heard if self.lasts(name, now) >= self.timeout]
