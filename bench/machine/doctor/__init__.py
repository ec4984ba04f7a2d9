"""What a measurement would find on this machine: a room for each thing, no look longer than a second, no torch."""
