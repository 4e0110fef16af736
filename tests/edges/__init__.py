"""Sources and sinks as users write them, on real executors."""
