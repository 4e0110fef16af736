"""Tests of `_engine/feeding`, module by module."""
