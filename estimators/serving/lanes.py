"""Many laws or terms as one whose numbers are lanes, so that one call prices them all side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def stacked(values: Sequence[Any]) -> Any:
    """Frozen objects of one kind as one of lanes: numbers become arrays, what all share stays."""
    import numpy as np

    first = values[0]
    if isinstance(first, (bool, str)) or first is None:
        return first
    if isinstance(first, tuple):
        return tuple(stacked([value[place] for value in values]) for place in range(len(first)))
    fields = getattr(first, "_fields", None)
    if fields:
        return type(first)(**{name: stacked([getattr(value, name) for value in values]) for name in fields})
    return first if all(value == first for value in values) else np.array(values, dtype=float)


def taken(value: Any, places: NDArray[np.int64]) -> Any:
    """Stacked objects with their lanes at places."""
    import numpy as np

    if isinstance(value, np.ndarray):
        return value[places]
    if isinstance(value, tuple):
        return tuple(taken(each, places) for each in value)
    fields = getattr(value, "_fields", None)
    return type(value)(**{name: taken(getattr(value, name), places) for name in fields}) if fields else value
