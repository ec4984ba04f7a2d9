"""The sampling loop, its clocks, its presets, and the line that shows its progress."""
