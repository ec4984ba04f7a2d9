"""Sums over the op table: parameters, FLOP, bytes, under named conventions; rules of thumb and other tools beside them."""
