"""Op tables traced on meta: what a forward and a backward pass multiply, keep and cache, at a few sizes."""
