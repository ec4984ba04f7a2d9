"""Serving: what a deployment holds, how long its steps take, how many users it has room for, and what a million tokens cost."""
