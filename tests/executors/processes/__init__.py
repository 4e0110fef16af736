"""The organs of the process lane, each with a fake of what is beside it; real workers are in `tests/process`."""
