"""The random tester: random pipelines against a plain reference model; `python -m tests.differential --help`."""
