"""What timings say about throughput: a table, the ratios that matter, and both as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.asking.measure import Machine, Timing
from benchmarks.asking.table import aligned
from benchmarks.contestants.contestant import Contestant
from benchmarks.contestants.peers import WORKERS


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times faster one is than another, with the start of the workers and without.

    Attributes:
        over: key of the one, ours.
        under: key of the other.
        words: what is compared, for people.
        ratio: of the medians of the whole calls.
        steady_ratio: of the rates once started.
    """

    over: str
    under: str
    words: str
    ratio: float
    steady_ratio: float


def ratios(timings: Sequence[Timing]) -> dict[str, dict[str, float]]:
    """For each of ours: its rate as a multiple of each contestant's."""
    return {
        mine.contestant.key: {t.contestant.key: mine.rate / t.rate for t in timings}
        for mine in timings
        if mine.contestant.ours
    }


def that_matter(timings: Sequence[Timing]) -> list[Ratio]:
    """Each of ours against the best pool that does the same; the two main forms against everybody else too."""
    return [*_against_best_pool(timings), *_against_others(timings)]


def _against_best_pool(timings: Sequence[Timing]) -> Iterator[Ratio]:
    for mine in _those(timings, lambda c: c.ours):
        form = mine.contestant.form
        pools = [t for t in _those(timings, lambda c: c.kind == "pool") if t.contestant.form == form]
        if pools:
            best = max(pools, key=lambda t: t.rate)
            yield _ratio(mine, best, f"best pool tuned by hand, {form}: {_tuned(best)}")


def _against_others(timings: Sequence[Timing]) -> Iterator[Ratio]:
    main = {t.contestant.form: t for t in reversed(timings) if t.contestant.ours}  # the first of each form
    for other in _those(timings, lambda c: c.kind not in ("ours", "pool")):
        kind = other.contestant.kind
        mine = main.get(other.contestant.form if kind == "peer" else "counts")
        if mine is None:
            continue
        yield _ratio(mine, other, _tuned(other))
        if kind == "plain":
            ceiling = f"{WORKERS} plain loops side by side, on ideal cores"
            yield _ratio(mine, other, ceiling, WORKERS)


def _ratio(mine: Timing, other: Timing, words: str, times: int = 1) -> Ratio:
    return Ratio(
        mine.contestant.key,
        other.contestant.key,
        f"{mine.contestant.label} / {words}",
        mine.rate / other.rate / times,
        mine.steady_rate / other.steady_rate / times,
    )


def _those(timings: Sequence[Timing], wanted: Callable[[Contestant], bool]) -> list[Timing]:
    return [timing for timing in timings if wanted(timing.contestant)]


def table(timings: Sequence[Timing]) -> str:
    """All contestants for people."""
    multiples = ratios(timings)
    head = ["contestant", "records", "records/s", "min – max", "start ms", "steady/s"]
    rows = [[*head, *(f"{_column(key)} ×" for key in multiples)]]
    for t in timings:
        rows.append(
            [
                _tuned(t),
                f"{t.contestant.records:,}",
                f"{t.rate:,.0f}",
                f"{t.rates[0]:,.0f} – {t.rates[-1]:,.0f}",
                f"{1000 * t.start:,.0f}",
                f"{t.steady_rate:,.0f}",
                *(_multiple(of[t.contestant.key]) for of in multiples.values()),
            ]
        )
    return aligned(rows)


def list_of(found: Sequence[Ratio]) -> str:
    """The ratios that matter for people."""
    rows = [["times faster", "whole call", "once started"]]
    rows += [[r.words, _multiple(r.ratio), _multiple(r.steady_ratio)] for r in found]
    return aligned(rows)


def cost_of_work(timings: Sequence[Timing]) -> str:
    """What the steps themselves cost, where a plain loop took part."""
    loops = _those(timings, lambda c: c.kind == "plain")
    return f"; a plain loop takes {1e6 / loops[0].rate:,.3g} µs a record" if loops else ""


def answer(
    question: str, title: str, timings: Sequence[Timing], machine: Machine, repeats: int, *, quick: bool
) -> dict[str, Any]:
    """The answer for programs; README.md says what is in it."""
    return {
        "question": question,
        "title": title,
        "quick": quick,
        "machine": machine.as_json(),
        "workers": WORKERS,
        "repeats": repeats,
        "contestants": [timing.as_json() for timing in timings],
        "ratios": ratios(timings),
        "ratios_that_matter": [asdict(ratio) for ratio in that_matter(timings)],
    }


def _tuned(timing: Timing) -> str:
    c = timing.contestant
    return f"{c.label} ({c.knob} {timing.choice:,})" if timing.choice is not None else c.label


def _column(key: str) -> str:
    return key.removeprefix("ours_").replace("_", " ")


def _multiple(ratio: float) -> str:
    return f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.1f}" if ratio >= 10 else f"{ratio:.2f}"
