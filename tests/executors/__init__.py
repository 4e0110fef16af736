"""The kinds of executor, and what they share: choosing, packing, shipping, counting cores. No process is started."""
