"""Serving: capacity, latency, money, and how right they are."""
