"""Tables of a diagnosed run."""
