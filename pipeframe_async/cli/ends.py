"""What `--feed`, `--sink` and `--dead-letter` make of a pipeline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipeframe_async.cli.target import Pipeline
from pipeframe_async.feeds import feed_from
from pipeframe_async.sinks import DeadLetters, sink_to

STANDARD_OUTPUT = ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")


def dead_letter_to(url: str) -> Any:
    """A file of dead letters by its end, `.dead`; else any sink, to which is appended."""
    return DeadLetters(url) if url.endswith(".dead") else sink_to(url, append=True)


@dataclass(frozen=True, slots=True)
class Ends:
    """URLs of what replaces a pipeline's own; None where nothing does."""

    feed: str | None = None
    sink: str | None = None
    dead_letter: str | None = None

    @property
    def filters(self) -> bool:
        """Results go to standard output, which belongs to them alone."""
        return self.sink is not None and self.sink.removeprefix("file://").rpartition(":")[2] in STANDARD_OUTPUT

    def put_on(self, pipeline: Pipeline) -> None:
        """Give them to a pipeline.

        Raises:
            ConfigError: a URL is none that is known.
        """
        ends: dict[str, Any] = {
            "feed": self.feed and feed_from(self.feed),
            "sink": self.sink and sink_to(self.sink),
            "dead_letter": self.dead_letter and dead_letter_to(self.dead_letter),
        }
        for name, end in ends.items():
            if end is not None:
                setattr(pipeline, name, end)
