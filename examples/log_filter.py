"""A Unix filter that uses all cores: which addresses have asked for what does not exist, of a web server's log.

    zcat access.log.*.gz | pipeframe run examples.log_filter:Missing --feed lines:- --sink - | head
    pipeframe run examples.log_filter:Missing --feed 'access.log.*.gz' --sink missing.jsonl --dead-letter odd.dead

A line that is none of a log goes to the dead letter, with what was wrong, and the exit code is 1; the others go on.
"""

import re
from typing import Any

from pipeframe_async import DROP, PipelineEngine

LINE = re.compile(
    r"(?P<address>\S+) \S+ \S+ \[(?P<time>[^]]+)\] "
    r'"(?P<method>\S+) (?P<path>\S+) [^"]*" (?P<status>\d{3}) (?P<size>\d+|-)'
)


def parsed(line: str) -> tuple[dict[str, Any], bool]:
    """The fields of a line in the common log format."""
    if (found := LINE.match(line)) is None:
        raise ValueError("no line of a web server's log")
    return found.groupdict(), True


def missing(request: dict[str, Any]) -> Any:
    """Only those that were answered with 404."""
    if request["status"] != "404":
        return DROP
    return {"address": request["address"], "path": request["path"]}, True


class Missing(PipelineEngine[str, dict[str, Any]]):
    """Lines in, requests for nothing out."""

    steps = [parsed, missing]
    max_failures = None
