"""Causal language models through transformers: generation, prefill, decode, training; whole or as slices of true width."""
