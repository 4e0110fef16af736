"""Workload (b): JSON lines of about 200 bytes, loaded, changed and dumped. Workers import this module."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from functools import cache
from itertools import accumulate
from typing import Any

from benchmarks.works.workload import Done, Workload

FIRST_ID = 100_000_000
"""Ids have nine digits and come first in a line, so that lines sort in feed order."""
KINDS = 1_000
"""Lines differ in their id, and repeat after so many in all else."""

Order = dict[str, Any]
_total = 0


def total() -> int:
    """Length of all lines that have left the last step in this process."""
    return _total


def load(line: str) -> tuple[Order, bool]:
    """First step."""
    return json.loads(line), True


def price(order: Order) -> tuple[Order, bool]:
    """Second step."""
    order["total"] = sum(item["price"] * item["quantity"] for item in order["items"])
    order["status"] = "priced"
    return order, True


def dump(order: Order) -> tuple[str, bool]:
    """Third step."""
    global _total
    line = json.dumps(order)
    _total += len(line)
    return line, True


def through(line: str) -> str:
    """Take one line through the steps, the way it is written by hand."""
    order, keep_going = load(line)
    if keep_going:
        order, keep_going = price(order)
    return dump(order)[0]


def rest_of_line(kind: int) -> str:
    """What comes after the id."""
    items = [
        {"sku": f"{kind:05d}-{at}", "price": 10 + kind * 37 % 9_990, "quantity": 1 + kind * (at + 1) % 12}
        for at in range(2)
    ]
    order = {"customer": f"customer {kind:04d}", "currency": "EUR", "items": items, "status": "new"}
    return json.dumps(order).removeprefix("{")


@cache
def rests_of_lines() -> list[str]:
    """Of each kind; made when first asked for, since workers need none."""
    return [rest_of_line(kind) for kind in range(KINDS)]


@cache
def _grown() -> list[int]:
    """Length of the first 0, 1, … results."""
    orders = [load(f'{{"id": {FIRST_ID}, {rest}')[0] for rest in rests_of_lines()]
    return [0, *accumulate(len(json.dumps(price(order)[0])) for order in orders)]


def expected(records: int) -> Done:
    """What must be done after that many lines."""
    rounds, more = divmod(records, KINDS)
    return Done(records, rounds * _grown()[-1] + _grown()[more])


def feed(records: int) -> Iterator[str]:
    """The feed, as a plain generator: one line a yield."""
    rests = rests_of_lines()
    for record in range(records):
        yield f'{{"id": {FIRST_ID + record}, {rests[record % KINDS]}'


async def async_feed(records: int) -> AsyncIterator[str]:
    """The feed, as an async generator: one line a yield."""
    rests = rests_of_lines()
    for record in range(records):
        yield f'{{"id": {FIRST_ID + record}, {rests[record % KINDS]}'


LINES = Workload(
    title="JSON lines per second, loaded, changed and dumped",
    records=200_000,
    steps=(load, price, dump),
    through=through,
    feed=feed,
    async_feed=async_feed,
    expected=expected,
    total=total,
    weigh=len,
    below="",
    fewer={"original": 30_000, "original_idle_tail": 60_000, "spdl_region": 4_000},
)
