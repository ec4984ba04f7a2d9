"""Tables of what was counted."""
