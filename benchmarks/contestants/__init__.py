"""Who takes part: this library and its peers, each driven as its user would."""
