"""An answer → who takes it: put in order, handed to the sink, to dead letters, or to one who iterates."""
