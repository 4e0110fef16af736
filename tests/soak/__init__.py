"""Runs of minutes, beside the suite: `.ci/soak`, or `pytest -m soak`."""
