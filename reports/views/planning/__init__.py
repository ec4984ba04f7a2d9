"""Tables of plans and of hardware side by side."""
