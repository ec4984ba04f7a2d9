"""Counting parameters and FLOP with torch: on meta, by module, by configuration, and by independent routes."""
