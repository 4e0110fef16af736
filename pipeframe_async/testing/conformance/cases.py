"""All cases of the suite, by name, in the order of the table."""

from __future__ import annotations

from typing import Final

from pipeframe_async.testing.conformance import costs, ends, flow
from pipeframe_async.testing.conformance.rig import Case

CASES: Final[dict[str, Case]] = {case.name: case for case in (*flow.CASES, *costs.CASES, *ends.CASES)}
