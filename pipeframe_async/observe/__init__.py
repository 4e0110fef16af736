"""What a run looks like from outside: progress now, metrics and logs. Nothing here changes a run."""
