"""The machine that a run is on: its environment, its meters, its ranks, and what the doctor says of it."""
