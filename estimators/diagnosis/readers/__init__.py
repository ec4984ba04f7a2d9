"""Readers of the files that a training leaves: each gives an `Observed`, in one pass and in bounded memory."""
