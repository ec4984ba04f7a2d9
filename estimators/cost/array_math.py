"""The few operations of the cost model that a float and a numpy array spell differently.

The model is written once: with floats it prices one layout, with arrays thousands at a time. numpy is imported by whoever
makes arrays, never for a single estimate.
"""

from __future__ import annotations

import math
from typing import Any

Lane = Any
"""A float, or a numpy array of as many lanes as there are layouts."""

_PLAIN = (int, float, bool)


def greater(a: Lane, b: Lane) -> Lane:
    """The greater of two, lane by lane.

    >>> greater(2, 3.0)
    3.0
    """
    if isinstance(a, _PLAIN) and isinstance(b, _PLAIN):
        return max(a, b)
    import numpy as np

    return np.maximum(a, b)


def smaller(a: Lane, b: Lane) -> Lane:
    """The smaller of two, lane by lane."""
    if isinstance(a, _PLAIN) and isinstance(b, _PLAIN):
        return min(a, b)
    import numpy as np

    return np.minimum(a, b)


def choose(condition: Lane, then: Lane, otherwise: Lane) -> Lane:
    """`then` where the condition holds; both are computed already."""
    if isinstance(condition, _PLAIN):
        return then if condition else otherwise
    import numpy as np

    return np.where(condition, then, otherwise)


def up(a: Lane) -> Lane:
    """Rounded up to a whole number."""
    if isinstance(a, _PLAIN):
        return math.ceil(a)
    import numpy as np

    return np.ceil(a)


def down(a: Lane) -> Lane:
    """Rounded down to a whole number."""
    if isinstance(a, _PLAIN):
        return math.floor(a)
    import numpy as np

    return np.floor(a)


def log2(a: Lane) -> Lane:
    """Logarithm to base 2."""
    if isinstance(a, _PLAIN):
        return math.log2(a)
    import numpy as np

    return np.log2(a)
