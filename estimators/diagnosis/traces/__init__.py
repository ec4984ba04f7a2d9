"""Traces of torch's profiler: where the steps of a run that was not ours went."""
