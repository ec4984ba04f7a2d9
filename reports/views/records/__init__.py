"""Tables of records: measured figures, checks, comparisons, calibrations."""
