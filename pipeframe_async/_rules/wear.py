"""When a worker has done enough and is replaced by a new one: what `max_worker_batches` and `max_worker_rss` mean."""

from __future__ import annotations

from dataclasses import dataclass

from pipeframe_async.wire import Reply


@dataclass(frozen=True, slots=True)
class Wear:
    """When a worker is replaced by a new one: after so many batches, or over so many resident bytes."""

    max_batches: int | None = None
    max_rss: int | None = None

    def full(self, batches: int) -> bool:
        """Whether a worker that was given so many batches gets no more."""
        return self.max_batches is not None and batches >= self.max_batches

    def worn(self, reply: Reply) -> bool:
        """Whether a worker that has answered this should answer no more."""
        if self.max_rss is not None and reply.rss > self.max_rss:
            return True
        return any(failure.error_type == "MemoryError" for failure in reply.failures)  # its heap may be in pieces


NO_WEAR = Wear()
