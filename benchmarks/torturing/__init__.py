"""What `torture.py` is made of: the faults, who meets them, and the cage in which that happens."""
