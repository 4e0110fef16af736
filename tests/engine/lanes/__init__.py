"""Tests of `_engine/lanes`, module by module."""
