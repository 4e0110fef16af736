"""The page, the metrics and the probes of a frame."""
