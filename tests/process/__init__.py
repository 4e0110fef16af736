"""Tests with real worker processes: what only they can show."""
