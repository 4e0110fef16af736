"""What moves: asyncio, one part of a run per file, wired together in `run.py`. It decides nothing."""
