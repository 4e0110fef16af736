"""The three tables of `scaling.py`."""
