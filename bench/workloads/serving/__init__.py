"""A causal language model under load: transformers' continuous batching in this process."""
