"""A training: the time of a step, a whole run, a claim; the layout that trains fastest."""
