"""Predictions on the machine at hand: what its calibration says of a workload, and how near that comes."""
