"""Time of a step on one calibrated machine: interpolation between measured operators."""
