"""Tests of the shape of the code rather than of what it does."""
