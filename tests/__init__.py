"""The tests. A package, so that they can share their own means (`tests.process.chaos` and the like)."""
