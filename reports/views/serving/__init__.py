"""A served model: its curve, its memory, its price, and the search over deployments."""
