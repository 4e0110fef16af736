"""Batches that are suspended in their workers, as others of their chain meet them there.

A worker begins no batch of a chain of which it has one suspended: a generator may keep something across what it yields.
Who comes from another run may be what the suspended one's consumer waits for, and who is earlier in the feed may be
what its results wait for; so the suspended one goes on for those, whether its results are taken or not.

Not of one run: runs of a frame share its workers. All of it is touched on the loop of its carriers only.
"""

from __future__ import annotations

import asyncio

_suspended: dict[int, Paused] = {}  # by the number that each goes on by


class Paused:
    """A batch of which a portion has come.

    Args:
        run: whose it is: what is the same for all batches of one run.
        first: feed position of its first record.
    """

    def __init__(self, run: object, first: int) -> None:
        self._run = run
        self._first = first
        self._token = 0
        self._hurried = asyncio.Event()
        self._ended = asyncio.Event()

    def suspended(self, token: int) -> None:
        """It is in its worker, and goes on by this number."""
        self._token = token
        _suspended[token] = self

    def goes_on(self) -> None:
        """It is at work again, or is run anew elsewhere."""
        _suspended.pop(self._token, None)

    def end(self) -> None:
        """It has come to its end, or is given up."""
        self.goes_on()
        self._ended.set()

    async def may_go_on(self, taken: asyncio.Event) -> None:
        """Wait until its results are taken, or somebody else waits for it."""
        waits = [asyncio.ensure_future(event.wait()) for event in (taken, self._hurried)]
        try:
            # Set by settling, or by another carrier; the run may end before either, and cancels this.
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def over(self, run: object, first: int) -> None:
        """Wait for its end, as a batch of that run does which has met it and begins at this feed position."""
        if run is not self._run or first < self._first:
            self._hurried.set()
        await self._ended.wait()  # set by whoever carries it, however that ends


def known(token: int) -> Paused | None:
    """The batch that is suspended under this number; None where nobody will ask it to go on."""
    return _suspended.get(token)
