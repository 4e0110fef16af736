"""Parts of questions that run in processes of their own, each started as `python -m benchmarks.cells.NAME`."""
