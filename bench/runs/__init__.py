"""Runs: one measured from request to record, suites, repeats in fresh processes, interleaved pairs, the self-test."""
