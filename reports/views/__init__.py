"""Tables of estimates. Each module turns finished numbers into reports.table.Table; none computes a cost of its own."""
