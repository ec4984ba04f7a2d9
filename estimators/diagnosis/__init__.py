"""Is a run's speed normal, why not, and what would settle it: from the figures that people already have."""
