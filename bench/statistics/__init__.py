"""Statistics of measured times: medians, intervals, noise floors, and the comparison of two sides."""
