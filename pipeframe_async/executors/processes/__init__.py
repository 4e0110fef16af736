"""The organs of `executor="processes"`: a fleet of lanes, each with one worker process at a time, and its watchers."""
