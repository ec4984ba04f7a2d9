"""Measured training steps, shipped or the user's own: rows of a table, each turned into a case that the cost model predicts."""
