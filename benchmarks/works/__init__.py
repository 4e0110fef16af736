"""The work that contestants get: records, steps, and the sums that prove that it was done."""
