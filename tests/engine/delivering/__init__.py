"""Tests of `_engine/delivering`, module by module."""
