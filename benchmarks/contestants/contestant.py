"""What a contestant is, whoever it is: one way to do the work, with what it must have done then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.works.workload import Done


@dataclass(frozen=True, slots=True)
class Contestant:
    """One way to do the work.

    Attributes:
        key: its name in files and ratios.
        label: its name for people.
        records: how many it gets: so many that a repeat takes about a second, since rates are compared.
        run: does the work on that many records; with one more argument where there are `choices`.
        expected: what must have been done after that many records.
        kind: what it stands for in the ratios: "ours", "pool" (the standard library's, tuned by hand), "peer", "plain",
            "hop" or "original".
        form: "counts" where only sums come back, "results" where every result does and is looked at.
        keeps_order: whether results must come in feed order.
        choices: values of a knob that its user would find by trying; the best one is taken.
        knob: what the choices are.
        version: of the library, where it is not Python's own.
    """

    key: str
    label: str
    records: int
    run: Callable[..., Done]
    expected: Callable[[int], Done]
    kind: str = "peer"
    form: str = "counts"
    keeps_order: bool = True
    choices: tuple[int, ...] = ()
    knob: str = ""
    version: str = ""

    @property
    def ours(self) -> bool:
        """Whether it is this library."""
        return self.kind == "ours"
