"""What runs in a worker, called in this very process: chain, envelope, codec, cursor."""
