"""What torch's autograd keeps of a layer that is written in Python, operation by operation."""
