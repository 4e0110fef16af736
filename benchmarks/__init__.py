"""One file per question, what they are made of in folders, and `python -m benchmarks` for all of them.

See README.md for how to read the answers.
"""
