"""What a request leaves open, decided: hyper-parameters, sizes, dtype, and whether the run fits into memory."""
