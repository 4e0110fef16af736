"""One file per question, and `python -m benchmarks` for all of them. See README.md for how to read the answers."""
