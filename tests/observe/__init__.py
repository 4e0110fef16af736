"""Tests of what a run looks like from outside."""
