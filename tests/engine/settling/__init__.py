"""Tests of `_engine/settling`, module by module."""
