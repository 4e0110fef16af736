"""Tests of `pipeframe_async.testing`."""
