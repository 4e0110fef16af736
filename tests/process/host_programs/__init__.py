"""Programs that the tests of hosts and ends start, each in an interpreter of its own, and what starts them."""
