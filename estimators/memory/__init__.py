"""Memory of one training step per device: what is held, what is kept for backward, and what the fullest stage adds up to."""
