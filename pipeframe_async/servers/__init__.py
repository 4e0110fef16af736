"""What feeds and sinks of one system have in common: how its server is reached. One file per system."""
