"""What a model costs, by arithmetic alone: parameters, FLOP, bytes, memory, time bounds, GPU-days.

Standard library only; nothing here imports torch, transformers or pandas.
"""

__version__ = "0.1.0"
