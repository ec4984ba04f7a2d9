"""Measurement and the command line."""
