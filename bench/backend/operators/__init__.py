"""Operators as a framework dispatches them: traced on fake tensors, replayed on real ones, profiled."""
