"""Every exception of the library: who must act decides the class.

    PipeFrameError
    ├── ConfigError      you wrote it wrong; nothing has started (also a ValueError)
    │   └── CheckpointMismatch the state of a job is of another one, or of more than there is
    ├── StateError       right call, wrong moment (also a RuntimeError)
    ├── FeedError        your feed raised; of a stream, what it fed before was processed first
    │   └── DrainTimeout it, or a sink or dead letter, did not close in time, and was left behind
    ├── StepError        your setup or teardown raised, or a step did over the record of a call
    ├── SinkError        your sink or dead_letter raised; what it did not take is `aborted`
    ├── PipelineFailed   more records failed than `max_failures` allows
    ├── Overloaded       a call was not begun: too many wait, or for too long; come again later
    ├── WorkerLost       a worker process died or could not be started
    └── InternalError    our bug; the message says what to report

None derives from CancelledError, TimeoutError or BrokenExecutor, so none is mistaken for control flow.
Every one survives pickling, and carries the run's books in `report` where a run had begun.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeframe_async.model import Failure
    from pipeframe_async.report import RunReport


def text_of(error: BaseException) -> str:
    """An exception's message as a plain string, whatever its `__str__` does."""
    try:
        return str.__str__(str(error))
    except BaseException as problem:
        return f"<its message could not be made: {type(problem).__name__}>"


class PipeFrameError(Exception):
    """Base of every error the library raises.

    Attributes:
        report: the run's final books, or None where no run had begun.
    """

    report: RunReport | None = None


class ConfigError(PipeFrameError, ValueError):
    """A knob, step, feed, sink or pipeline is wrong. Raised before anything starts."""


class CheckpointMismatch(ConfigError):
    """What a job has left behind when it was ended is not this job's, or cannot be gone on from.

    Another version, other steps or another feed; a feed that has become shorter than what is done; a sink's file that
    is shorter than it was; a state file that is damaged or newer. What was there is left as it was.
    """


class StateError(PipeFrameError, RuntimeError):
    """The call is right but not now: the frame is closed, the feed is used up, a loop is running."""


class FeedError(PipeFrameError):
    """The feed raised; the original is the `__cause__`.

    Of a stream, what it fed before was processed first. Of a batch no step has run: what it fed is `aborted`.
    """


class DrainTimeout(FeedError):
    """The feed was told to close, did not within 5 s, and was left behind. What it fed was processed first.

    Or an object with a life (a `Source` or `Sink`) did not close within `drain_timeout`; the message says which.
    """


class StepError(PipeFrameError):
    """A step broke its contract, or `setup`/`teardown` raised; the worker's traceback is a note.

    What a step raised over the record of a `frame.call` is the `__cause__`, where it can be pickled.

    Attributes:
        failure: of the record of a `frame.call`, or of one that was pushed: which step failed, how, and with what text;
            else None.
    """

    failure: Failure[Any] | None = None

    @classmethod
    def of(cls, failure: Failure[Any]) -> StepError:
        """The failure of a record, for the one who waits for what it comes to."""
        error = cls(str(failure))
        error.failure, error.__cause__ = failure, failure.exception
        if failure.traceback:
            error.add_note(f"Where it failed:\n{failure.traceback}")
        if failure.log:
            error.add_note(f"Logged last:\n{failure.log}")
        return error


class SinkError(PipeFrameError):
    """`sink` or `dead_letter` raised, or could not be opened or closed; the original is the `__cause__`."""


class PipelineFailed(PipeFrameError):
    """More records failed than `max_failures` allows.

    Attributes:
        failures: the failures of the run, in the order they became known; the first 1,000 of them.
        report: the run's final books.
    """

    def __init__(self, message: str, failures: Sequence[Failure[Any]] = (), report: RunReport | None = None) -> None:
        super().__init__(message, tuple(failures), report)
        self.failures: tuple[Failure[Any], ...] = tuple(failures)
        self.report = report

    def __str__(self) -> str:
        return str(self.args[0])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"  # what handlers of forgotten errors log: no failures, no records


class Overloaded(PipeFrameError):
    """A call was not let in, for too many wait or it would wait past its deadline; or has waited until then in vain.

    No step has seen its record. In a web app: 503, with `Retry-After`.

    Attributes:
        retry_after: seconds after which it is worth to come again, by what was measured; 0.1 at least.
    """

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message, retry_after)
        self.retry_after = retry_after

    def __str__(self) -> str:
        return str(self.args[0])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r}, retry_after={self.retry_after:.3g})"


class WorkerLost(PipeFrameError):
    """A worker process died or could not be started; the message says which, and how it ended."""


class InternalError(PipeFrameError):
    """The library broke one of its own laws, for instance books that do not balance. Please report it."""
