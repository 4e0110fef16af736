"""The tests. A package, so that they can share their own means (`tests.leaks` and the like)."""
