"""What is decided: plain values in, plain values out. Time is an argument; nothing here waits."""
