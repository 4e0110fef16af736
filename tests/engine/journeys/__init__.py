"""Tests of `_engine/journeys`, module by module."""
