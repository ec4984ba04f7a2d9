"""Inference: prefill, decode and whole generations."""
