"""The words of the library: errors, values, steps, and a pipeline checked into a plan."""
