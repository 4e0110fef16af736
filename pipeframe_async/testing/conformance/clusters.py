"""A Dask cluster on this machine, for the column of the table."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

DASK: Final = "dask"
"""What stands for it; the address of any other cluster may be given, too."""


@cache
def local_cluster(workers: int) -> str:
    """Its address, as `PipeFrame(executor=…)` takes it. It is started once in a process, and ends with that."""
    try:
        from distributed import LocalCluster
    except ImportError as error:
        raise ImportError("distributed is not installed: pip install 'pipeframe_async[dask]'") from error
    started: Any = LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None)
    return f"dask://{started.scheduler_address.partition('://')[2]}"
