"""Rules: what is decided without waiting. Plain calls; time and measurements are arguments."""
