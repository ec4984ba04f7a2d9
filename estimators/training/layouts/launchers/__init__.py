"""The files that training software is launched with: one module per launcher, with `body`, `fields` and `can_run`."""
