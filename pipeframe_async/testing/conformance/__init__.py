"""A conformance suite for executors: what can be relied on, wherever the steps of a pipeline run.

    def test_my_executor_conforms():
        conform(MyExecutor).check(but=["teardown runs at the end of each worker"])

`python -m pipeframe_async.testing.conformance` prints what holds with the executors there are.
"""

from pipeframe_async.testing.conformance.cases import CASES
from pipeframe_async.testing.conformance.suite import conform
from pipeframe_async.testing.conformance.verdicts import Conformance, Verdict, markdown

__all__ = ["CASES", "Conformance", "Verdict", "conform", "markdown"]
