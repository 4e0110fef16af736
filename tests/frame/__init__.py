"""Tests of the frame: knobs, refusals, the synchronous front. No worker processes."""
