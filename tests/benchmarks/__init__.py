"""Tests of the benchmarks: that they run, and say what is so."""

SECONDS = 170
"""Within which a program here has ended, or it hangs."""
