"""What a measurement would find on this machine: a file for each subject; nothing takes longer than a second, and no torch."""
