"""Tables of what is known: names, measured steps."""
