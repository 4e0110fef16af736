"""The books: every record fed has a permit until its outcome is final, and each permit is released once.

    fed + emitted == skipped + delivered + filtered + failed + aborted + in_flight + spilled     at every instant
    in_flight + unanswered <= capacity                                                  at every instant

Records come in by `admit` (a permit each) or `spill` (to disk, no permit), join a batch by `open`, and leave
by one `settle` per batch. A batch goes by the feed position of its first record; it may be `split` into smaller ones.
An entry that would break a law raises InternalError and changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeframe_async.errors import InternalError
from pipeframe_async.stats import Stats


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the records of one batch; `bypassed` are among the delivered."""

    delivered: int = 0
    bypassed: int = 0
    filtered: int = 0
    failed: int = 0
    aborted: int = 0
    emitted: int = 0

    @property
    def records(self) -> int:
        """How many fed records this accounts for."""
        return self.delivered + self.filtered + self.failed + self.aborted - self.emitted


@dataclass(slots=True)
class _Entry:
    records: int
    nbytes: int = 0
    ahead: int = 0  # bytes of portions of its first record


class Ledger:
    """Owner of the permits of one run.

    Args:
        capacity: most records in flight.
        capacity_bytes: most pickled bytes in flight.
    """

    def __init__(self, capacity: int, capacity_bytes: int) -> None:
        self.capacity = capacity
        self.capacity_bytes = capacity_bytes
        self.in_flight = 0
        self.unanswered = 0
        self.in_flight_bytes = 0
        self.spilled = 0
        self.skipped = 0
        self.peak_in_flight = 0
        self.peak_bytes = 0
        self.retried = 0
        self.re_executed = 0
        self.fed = 0
        self._total = Outcome()
        self._waiting = 0  # admitted, not yet in a batch
        self._open: dict[int, _Entry] = {}

    @property
    def room(self) -> int:
        """Permits left."""
        return self.capacity - self.in_flight - self.unanswered

    @property
    def room_bytes(self) -> int:
        """Bytes left; negative where replies came back larger than was expected."""
        return self.capacity_bytes - self.in_flight_bytes

    @property
    def alone(self) -> bool:
        """Whether nothing is in flight that could free bytes: then one record goes, however large it is."""
        return not self.in_flight_bytes

    @property
    def oldest(self) -> int | None:
        """Feed position of the first record in a batch, None where none is in one. Looks only: any thread may ask."""
        return min(list(self._open), default=None)

    @property
    def total(self) -> Outcome:
        """All outcomes so far."""
        return self._total

    def admit(self, records: int) -> None:
        """Records were fed and take a permit each."""
        if records < 0 or records > self.room:
            raise InternalError(f"{records} records for {self.room} permits")
        self.fed += records
        self._take(records)

    def spill(self, records: int) -> None:
        """Records were fed and went to disk: no permit yet."""
        if records < 0:
            raise InternalError(f"spill of {records} records")
        self.fed += records
        self.spilled += records

    def unspill(self, records: int) -> None:
        """Records came back from disk and take a permit each."""
        if not 0 <= records <= min(self.spilled, self.room):
            raise InternalError(f"unspill of {records} records, {self.spilled} spilled, {self.room} permits")
        self.spilled -= records
        self._take(records)

    def refuse(self, records: int) -> None:
        """Records were handed over when the run took no more: fed and aborted at once."""
        if records < 0:
            raise InternalError(f"refusal of {records} records")
        self.fed += records
        self._book(Outcome(aborted=records))

    def skip(self, records: int) -> None:
        """Records came that an earlier life of the job was done with: they take no permit."""
        if records < 0:
            raise InternalError(f"{records} records skipped")
        self.fed += records
        self.skipped += records

    def retry(self) -> None:
        """A record has another attempt."""
        self.retried += 1

    def re_execute(self, records: int) -> None:
        """So many records are run again, though nothing is wrong with them."""
        self.re_executed += records

    def open(self, first: int, records: int, nbytes: int) -> None:
        """Waiting records became a batch, of so many bytes."""
        if first in self._open or not 0 < records <= self._waiting:
            raise InternalError(f"batch {first} of {records} records, {self._waiting} waiting")
        self._waiting -= records
        self._open[first] = _Entry(records)
        self.charge(first, nbytes)

    def split(self, first: int, records: Sequence[int]) -> None:
        """A batch became batches of so many records each; its bytes are shared out among them."""
        whole = self._entry(first)
        if sum(records) != whole.records or min(records) < 1:
            raise InternalError(f"batch {first} of {whole.records} records split into {records}")
        left, nbytes, ahead = whole.records, whole.nbytes, whole.ahead
        for count in records:
            share = nbytes * count // left
            self._open[first], ahead = _Entry(count, share, ahead), 0
            first, left, nbytes = first + count, left - count, nbytes - share

    def charge(self, first: int, nbytes: int) -> None:
        """The batch holds so many bytes from now on."""
        entry = self._entry(first)
        self.in_flight_bytes += nbytes - entry.nbytes
        entry.nbytes = nbytes
        self.peak_bytes = max(self.peak_bytes, self.in_flight_bytes)

    def settle(self, first: int, outcome: Outcome) -> None:
        """The batch's outcome is final: its permits and bytes are free."""
        entry = self._entry(first)
        if outcome.records != entry.records:
            raise InternalError(f"batch {first} of {entry.records} records settled as {outcome}")
        del self._open[first]
        self.in_flight_bytes -= entry.nbytes + entry.ahead
        self._release(entry.records, outcome)

    def go_ahead(self, first: int, nbytes: int) -> None:
        """So many bytes have come of the batch's first record, which is under way."""
        self._entry(first).ahead += nbytes
        self.in_flight_bytes += nbytes
        self.peak_bytes = max(self.peak_bytes, self.in_flight_bytes)

    def emit(self, first: int, outcome: Outcome, nbytes: int) -> None:
        """So many of those are final; their record keeps its permit."""
        entry = self._entry(first)
        if outcome.records or nbytes > entry.ahead:
            raise InternalError(f"{outcome} came of batch {first}, which is under way, {nbytes} of {entry.ahead} bytes")
        entry.ahead -= nbytes
        self.in_flight_bytes -= nbytes
        self._book(outcome)

    def hold(self, records: int) -> None:
        """The outcomes of so many records are final, but their source has not heard of it: they keep their permits."""
        if records < 0:
            raise InternalError(f"{records} records hold their permits")
        self.unanswered += records

    def release(self) -> None:
        """One of those has been answered."""
        if not self.unanswered:
            raise InternalError("an answer has released a permit it did not hold")
        self.unanswered -= 1

    def abort_rest(self) -> None:
        """Whatever has no outcome yet is aborted: waiting, spilled, and in batches."""
        for first, entry in list(self._open.items()):
            self.settle(first, Outcome(aborted=entry.records))
        self.abort_waiting()

    def abort_waiting(self) -> None:
        """Records in no batch yet, and those on disk, are aborted."""
        waiting, self._waiting = self._waiting, 0
        self._release(waiting, Outcome(aborted=waiting))
        spilled, self.spilled = self.spilled, 0
        self._book(Outcome(aborted=spilled))

    def stats(
        self,
        *,
        elapsed: float,
        worker_restarts: int,
        unbooked: int = 0,
        ack_errors: int = 0,
        total: int | None = None,
    ) -> Stats:
        """The books as a snapshot; `unbooked`: records that were fed and will be booked at the next look."""
        t = self._total
        within = min(unbooked, max(0, self.room))  # what has no permit is on its way to the disk
        return Stats(
            fed=self.fed + unbooked,
            emitted=t.emitted,
            skipped=self.skipped,
            delivered=t.delivered,
            bypassed=t.bypassed,
            filtered=t.filtered,
            failed=t.failed,
            aborted=t.aborted,
            retried=self.retried,
            re_executed=self.re_executed,
            worker_restarts=worker_restarts,
            ack_errors=ack_errors,
            in_flight=self.in_flight + within,
            in_flight_bytes=self.in_flight_bytes,
            spilled=self.spilled + unbooked - within,
            elapsed=elapsed,
            total=total,
        )

    def audit(self, *, final: bool = False) -> None:
        """Raise InternalError unless the books balance; `final`: nothing may be in flight any more."""
        held = self._waiting + sum(entry.records for entry in self._open.values())
        laws = {
            "fed = skipped + outcomes + in flight + spilled": self.fed
            == self.skipped + self._total.records + self.in_flight + self.spilled,
            "in flight = waiting + in batches": self.in_flight == held,
            "in flight + unanswered <= capacity": 0 <= self.in_flight <= self.capacity - self.unanswered,
            "nothing left at the end": not final
            or (self.in_flight == self.spilled == self.in_flight_bytes == self.unanswered == 0),
        }
        if broken := [law for law, holds in laws.items() if not holds]:
            raise InternalError(
                f"the books do not balance ({'; '.join(broken)}): fed {self.fed}, {self._total}, in flight "
                f"{self.in_flight}, spilled {self.spilled}. This is a bug of pipeframe_async: please report it"
            )

    def _entry(self, first: int) -> _Entry:
        if (entry := self._open.get(first)) is None:
            raise InternalError(f"batch {first} is not open: settled twice, or never opened")
        return entry

    def _take(self, records: int) -> None:
        self._waiting += records
        self.in_flight += records
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)

    def _release(self, records: int, outcome: Outcome) -> None:
        self.in_flight -= records
        self._book(outcome)

    def _book(self, o: Outcome) -> None:
        t = self._total
        self._total = Outcome(
            t.delivered + o.delivered,
            t.bypassed + o.bypassed,
            t.filtered + o.filtered,
            t.failed + o.failed,
            t.aborted + o.aborted,
            t.emitted + o.emitted,
        )
