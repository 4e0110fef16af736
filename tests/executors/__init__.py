"""The parts of executors that start nothing: packing, shipping, counting cores."""
