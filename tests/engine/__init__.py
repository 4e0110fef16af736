"""The engine, driven without processes and without waiting."""
