"""Measure Python files on all cores: lines, functions, branches. `pipeframe demo` is this with nicer tables.

The pipeline is in the package, where it can be read: an async feed that walks directories, four `def` steps,
a sink, a dead letter. Give a directory to measure that; without one the first 200 files of the standard library.
"""

import sys
from pathlib import Path

from pipeframe_async import run
from pipeframe_async.cli.demo_pipeline import StdlibMetrics

metrics = StdlibMetrics(Path(sys.argv[1])) if len(sys.argv) > 1 else StdlibMetrics(limit=200)
report = run(metrics, progress=True)

for function, path in metrics.ranking.hardest_functions:
    print(f"{function.complexity:5}  {function.name:30}  {metrics.name_of(path)}:{function.line}")
for failure in metrics.failures:
    print(f"could not measure {metrics.name_of(failure.record)}: {failure.message}")
print(f"\nresults in {metrics.output}\n")
print(report)
