"""Tables of an estimated training."""
