"""What runs in a worker process: fused steps inside an envelope that always answers with a value."""
